"""Names from outside stay inside the folder that they are for."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.confined import Escape, inside


@pytest.mark.parametrize("name", ["a", "a.h5", "a/b", "..a", "a..", "a b", "ä", "x" * 255, "-", "~", "$HOME", "a\\b"])
def test_names_of_files_are_taken(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../../etc/passwd", "'../../etc/passwd' has an empty part"),
        ("..", "`..`"),
        (".", "`.`"),
        ("", "empty part"),
        ("a/../b", "`..`"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("/etc/passwd", "absolute"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("\x7f", "control characters"),
        ("\ud800", "no file name"),
        ("x" * 256, "too long"),
        ("ä" * 128, "too long"),
        ("/".join(["x" * 200] * 11), "too long"),
        ("x" * 10_000_000, "too long"),
    ],
)
def test_anything_else_is_refused(tmp_path, name, said):
    with pytest.raises(Escape) as caught:
        inside(tmp_path, name)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_link_may_not_lead_out(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (tmp_path / "folder-2").mkdir()
    (folder / "out").symlink_to(tmp_path)
    (folder / "deep" / "up").symlink_to("../..")
    (folder / "file").symlink_to("/etc/passwd")
    (folder / "not-there").symlink_to(tmp_path / "nothing")
    (folder / "beside").symlink_to(tmp_path / "folder-2")  # begins with the same letters
    (folder / "round").symlink_to("round")
    (folder / "within").symlink_to("deep")
    for name in ("out", "out/a", "deep/up/a", "file", "not-there", "not-there/a", "beside"):
        with pytest.raises(Escape, match="by a link"):
            inside(folder, name)
    for name in ("within", "within/a", "deep/a", "round"):
        assert inside(folder, name) == folder / name


def test_the_folder_may_be_a_link_and_need_not_be_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    assert inside(tmp_path / "link", "a") == tmp_path / "link" / "a"
    assert inside(Path("relative"), "a") == Path("relative/a")


@given(st.text(st.sampled_from("./a\0\n~") | st.characters(), max_size=12))
def test_no_name_leads_out(name):
    folder = Path("/no-such-folder/inner")
    try:
        path = inside(folder, name)
    except Escape:
        return
    assert Path(os.path.normpath(path)).is_relative_to(folder)
    assert os.path.normpath(path) == str(path)
