"""Scans are taken when nobody writes to them any more, and once."""

import os
from pathlib import Path

from edge.training.arriving import Arriving, FileFacts, look


def facts(name: str = "a.npz", size: int = 10, mtime_ns: int = 5) -> FileFacts:
    return FileFacts(name, size, mtime_ns)


def test_a_file_that_grows_is_waited_for():
    arriving = Arriving(5.0)
    assert arriving.complete([facts(size=10)], 0.0) == []
    assert arriving.complete([facts(size=20)], 4.0) == []
    assert arriving.complete([facts(size=20)], 8.0) == []
    assert arriving.complete([facts(size=20)], 9.0) == [facts(size=20)]


def test_the_time_of_writing_counts_where_the_size_stays():
    arriving = Arriving(5.0)
    arriving.complete([facts(mtime_ns=1)], 0.0)
    assert arriving.complete([facts(mtime_ns=2)], 6.0) == []
    assert arriving.complete([facts(mtime_ns=2)], 11.0) == [facts(mtime_ns=2)]


def test_what_was_dealt_with_comes_again_only_when_it_changed():
    arriving = Arriving(0.0, done=[facts("old.npz")])
    assert arriving.complete([facts("old.npz"), facts("new.npz")], 0.0) == [facts("new.npz")]
    arriving.finish(facts("new.npz"))
    assert arriving.complete([facts("old.npz"), facts("new.npz")], 1.0) == []
    assert arriving.complete([facts("new.npz", size=11)], 2.0) == [facts("new.npz", size=11)]


def test_the_oldest_first():
    files = [facts("b", mtime_ns=2), facts("c", mtime_ns=1), facts("a", mtime_ns=2)]
    assert [file.name for file in Arriving(0.0).complete(files, 0.0)] == ["c", "a", "b"]


def test_unfinished_names_and_empty_files_are_no_scans():
    files = [facts(".a.npz"), facts("a.npz.part"), facts("a.tmp"), facts("b.npz", size=0)]
    assert Arriving(0.0).complete(files, 0.0) == []


def test_a_name_that_is_no_text_is_no_scan():
    assert Arriving(0.0).complete([facts("caf\udce9.npz"), facts("café.npz")], 0.0) == [facts("café.npz")]


def test_look_finds_files_and_their_changes(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.npz").write_bytes(b"12")
    os.utime(tmp_path / "a.npz", ns=(7, 7))
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert look(tmp_path) == [FileFacts("a.npz", 2, 7)]
