"""Folders that are written into: after the proposal and the day, and never outside of data.root."""

import logging
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import ConfigError, load_placed, parse, placed, with_proposal
from edge.config.outputs import FIELDS, expanded

DAY = date(2026, 11, 22)
SMALLEST = {
    "source": [{"name": "eiger", "protocol": "stream-v2", "address": "tcp://127.0.0.1:31001"}],
    "route": [{"name": "peaks", "model": "peaks"}],
}
TABLES = ("results", "recording", "agent")


def config(folder, root="", proposal="mx-2345", table="results"):
    return parse({**SMALLEST, "data": {"root": str(root), "proposal": proposal}, table: {"folder": str(folder)}})


@pytest.mark.parametrize("table", TABLES)
def test_fields_are_filled_in_below_the_root(tmp_path, table):
    found = placed(config("{year}/{proposal}/{date}-x", tmp_path, table=table), DAY)
    assert getattr(found, table).folder == f"{tmp_path}/2026/mx-2345/2026-11-22-x"
    assert [getattr(found, other).folder for other in TABLES if other != table] == ["", ""]


def test_without_a_root_folders_are_where_the_process_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert placed(config("../{proposal}"), DAY).results.folder == f"{tmp_path}/../mx-2345"
    assert placed(config("/elsewhere/{date}"), DAY).results.folder == "/elsewhere/2026-11-22"


def test_an_absolute_folder_may_lie_in_the_root(tmp_path):
    assert placed(config(f"{tmp_path}/a", tmp_path), DAY).results.folder == f"{tmp_path}/a"


@pytest.mark.parametrize("folder", ["../a", "a/../../b", "/elsewhere", "{proposal}/../../b", "/{proposal}/a"])
def test_a_folder_outside_the_root_is_refused_when_it_is_read(tmp_path, folder):
    with pytest.raises(ConfigError, match=r"results\.folder = .*: lies outside data\.root") as caught:
        config(folder, tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("table", TABLES)
def test_a_link_out_of_the_root_is_refused_and_logged(tmp_path, caplog, table):
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "mx-2345").symlink_to(outside)
    settings = config("{proposal}/results", root, table=table)
    with caplog.at_level(logging.WARNING), pytest.raises(ConfigError, match=rf"{table}\.folder = .* by a link"):
        placed(settings, DAY)
    assert "refused" in caplog.text and "mx-2345" in caplog.text
    assert placed(with_proposal(settings, "other"), DAY)


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    assert placed(config("a", tmp_path / "data"), DAY).results.folder == f"{tmp_path}/data/a"


def test_a_root_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(ConfigError, match="mount the disk"):
        placed(config("a", tmp_path / "data"), DAY)
    assert not (tmp_path / "data").exists()


def test_a_proposal_is_asked_for_where_it_is_named(tmp_path):
    settings = config("{proposal}", tmp_path, proposal="")
    with pytest.raises(ConfigError, match=r"set data\.proposal, or start with --proposal NAME"):
        placed(settings, DAY)
    assert placed(with_proposal(settings, "p-1"), DAY).results.folder == f"{tmp_path}/p-1"
    assert placed(config("{date}", tmp_path, proposal=""), DAY).results.folder == f"{tmp_path}/2026-11-22"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", ".", "-x", "a\0b", "a\n", "x" * 65, "a b", "{date}", "ä"])
def test_a_proposal_is_a_name(tmp_path, name):
    with pytest.raises(ConfigError, match=r"--proposal .*: a proposal is 1 to 64 letters"):
        with_proposal(config("{proposal}", tmp_path), name)
    with pytest.raises(ConfigError, match=r"data\.proposal = .*: must be 1 to 64 letters"):
        config("{proposal}", tmp_path, proposal=name)


@pytest.mark.parametrize("folder", ["{user}", "{proposal!r}", "{year:>9}", "{date.day}", "{", "{}", "{0}", "a\0b"])
def test_other_fields_are_refused_when_they_are_read(folder):
    with pytest.raises(ConfigError, match=r"results\.folder"):
        config(folder)


def test_the_root_takes_no_fields():
    with pytest.raises(ConfigError, match=r"data\.root = .* takes no"):
        config("a", "/data/{proposal}")


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
PARTS = st.lists(st.sampled_from(["a", *(f"{{{name}}}" for name in FIELDS), "x{proposal}", "{proposal}.y"]), min_size=1)


@given(NAMES, PARTS, st.dates())
def test_fields_never_change_how_deep_a_folder_is(proposal, parts, day):
    filled = expanded("/".join(parts), proposal, day).split("/")
    assert len(filled) == len(parts)
    assert not {"", ".", ".."} & set(filled)


def test_problems_of_folders_have_their_line(tmp_path):
    path = tmp_path / "edge.toml"
    path.write_text(
        '[[source]]\nname = "a"\nprotocol = "stream-v2"\naddress = "tcp://127.0.0.1:1"\n[[route]]\nname = "a"\n'
        'model = "peaks"\n[results]\nfolder = "{proposal}"\n[data]\nroot = "' + str(tmp_path) + '"\n'
    )
    with pytest.raises(ConfigError, match=r'edge\.toml:9: results\.folder = "\{proposal\}": names \{proposal\}'):
        load_placed(path, DAY)
    assert load_placed(path, DAY, "p-1").results.folder == f"{tmp_path}/p-1"
    assert load_placed(path, DAY, "p-1", "{date}").recording.folder == f"{tmp_path}/2026-11-22"
    with pytest.raises(ConfigError, match=r"recording\.folder.*lies outside"):
        load_placed(path, DAY, "p-1", "/elsewhere")
