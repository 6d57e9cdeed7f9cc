import os
from pathlib import Path

import pytest

from edge.results import files
from edge.results.errors import ResultFileError
from edge.results.files import ResultFiles
from edge.results.names import check_raw_pattern, raw_target, safe_name, series_stem, timestamp
from edge.results.survey import survey
from tests.unit.results.notices import SHA, ended, message, result, started


class NoBuilder:
    """Remembers what it should have built."""

    def __init__(self) -> None:
        self.put_paths: list[Path] = []

    def start(self) -> None:
        pass

    def put(self, path: Path) -> None:
        self.put_paths.append(path)

    def close(self, patience_s: float) -> None:
        pass


@pytest.fixture
def builder(monkeypatch):
    made = NoBuilder()
    monkeypatch.setattr(files, "Builder", lambda: made)
    return made


def put_all(kept: ResultFiles, *notices) -> None:
    for notice in notices:
        kept.put(notice, message(notice))


def test_each_series_and_route_has_its_log(tmp_path, builder):
    with ResultFiles(tmp_path / "new" / "folder", "raw/{series_id:04d}.h5", {"peaks": SHA}) as kept:
        put_all(kept, started(), started(route="denoise"), started(series_uid="v", series_id=8))
        put_all(kept, result(1), result(2, route="denoise"), result(3, series_uid="v", series_id=8))
        put_all(kept, ended(1), ended(1, route="denoise"), ended(1, series_uid="v", series_id=8))
    assert not kept.not_logged
    found = [survey(path) for path in builder.put_paths]
    assert [(one.series.route, one.series.series_id) for one in found] == [("peaks", 7), ("denoise", 7), ("peaks", 8)]
    assert [one.facts["raw_frames"] for one in found] == [
        "raw/0007.h5::/entry/data",
        "raw/0007.h5::/entry/data",
        "raw/0008.h5::/entry/data",
    ]
    assert all(sum(channel.stored for channel in one.channels.values()) == 1 for one in found)


def test_a_late_announcement_is_the_same_series(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, started(None, announced=False), result(0), started(2), result(1), ended(2))
    (path,) = builder.put_paths
    found = survey(path)
    assert found.started is not None and found.started.announced


def test_a_series_that_never_ends_keeps_its_log(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, started(), result(0))
    assert builder.put_paths == []
    (path,) = tmp_path.glob("*.log")
    assert survey(path).channels["image"].stored == 1


def test_logs_without_a_file_are_announced(tmp_path, builder, caplog):
    (tmp_path / "a.log").touch()
    (tmp_path / "b.log").touch()
    (tmp_path / "b.h5").touch()
    with ResultFiles(tmp_path):
        pass
    assert "1 logs in" in caplog.text and "edge results --build" in caplog.text


def test_what_no_disk_can_follow_is_published_only(tmp_path, builder, monkeypatch, caplog):
    start, end = message(started()), message(ended(9))
    room = sum(map(len, start)) + 3 * sum(map(len, message(result(0))))
    monkeypatch.setattr(files, "QUEUE_BYTES", room)
    kept = ResultFiles(tmp_path)  # its thread does not run yet: nothing is taken
    put_all(kept, started(), *map(result, range(9)))
    kept.put(ended(9), end)  # an end is never left out
    with kept:
        pass
    assert kept.not_logged == {"peaks": 6}
    assert len([said for said in caplog.messages if "too slow" in said]) == 1
    found = survey(builder.put_paths[0])
    assert found.channels["image"].stored == 3
    assert found.ended is not None


def test_a_result_of_an_unheard_of_series_is_counted(tmp_path, builder):
    with ResultFiles(tmp_path) as kept:
        put_all(kept, result(0), ended(1))
    assert kept.not_logged == {"peaks": 1}
    assert builder.put_paths == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ResultFileError, match=r"results\.folder"):
        ResultFiles(tmp_path / "file")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(ResultFileError, match="Permission denied"):
            ResultFiles(tmp_path / "closed")


@pytest.mark.parametrize("pattern", ["{serie}", "{", "{series_id", "{0}", "{}", "{series_id.real}", "{series_uid:d}"])
def test_a_pattern_that_cannot_be_filled_in_is_refused(tmp_path, pattern):
    with pytest.raises(ResultFileError, match=r"results\.raw_frames.*series_id"):
        ResultFiles(tmp_path, pattern)


@pytest.mark.parametrize(
    ("pattern", "target"),
    [
        ("/d/series_{series_id}_master.h5", "/d/series_7_master.h5::/entry/data"),
        ("../{source}_{series_id:06d}.nxs::/entry/instrument/data", "../det_000007.nxs::/entry/instrument/data"),
        ("{series_uid}.h5", ".._.._x_.h5::/entry/data"),
    ],
)
def test_patterns_are_filled_in(pattern, target):
    check_raw_pattern(pattern)
    assert raw_target(pattern, started(series_uid="../../x\0")) == target


def test_names_are_safe_and_differ_where_series_do():
    assert safe_name("a/b\0c", ["a_b_c"]) == "a_b_c_"
    assert [safe_name(name) for name in ("", ".", "..", "x" * 100)] == ["_", "_.", "_..", "x" * 64]
    stems = {
        series_stem(start, sha)
        for start in (started(), started(series_uid="v"), started(series_uid="\ud800"), started(source="det-"))
        for sha in (SHA, "00")
    }
    assert len(stems) == 8
    assert timestamp(1_795_347_901_999_999_999) == "20261122T114501Z"
