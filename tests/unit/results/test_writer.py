import errno
import fcntl
import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.results import log, writer
from edge.results.logfile import LogFile
from edge.results.survey import Survey, survey
from edge.results.writer import SeriesWriter, left_logs
from tests.unit.results.notices import FACTS, SHA, ended, message, result, started


def begin(folder: Path, **changes) -> SeriesWriter:
    start = started(**changes)
    parts = message(start)
    made = SeriesWriter(folder, start, parts, FACTS, SHA, left_logs(folder))
    made.append(parts)
    return made


def ids(path: Path) -> list[int]:
    return [row.result.image_id for row in Survey(path).rows()]


def test_what_was_appended_is_read(tmp_path):
    made = begin(tmp_path)
    for image_id in (2, 0, 1):
        assert made.append(message(result(image_id)))
    made.append(message(ended(3)), insist=True)
    made.close()
    assert made.path is not None
    assert made.path.name.startswith("19700101T000001Z-det-series-7-peaks-")
    assert ids(made.path) == [2, 0, 1]
    assert survey(made.path).facts == FACTS


def test_a_start_that_did_not_fit_is_written_later(tmp_path, monkeypatch):
    real, now = os.writev, [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])

    def full_after_the_head(fd, buffers):
        if os.fstat(fd).st_size:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, buffers)

    monkeypatch.setattr(os, "writev", full_after_the_head)
    made = begin(tmp_path)
    monkeypatch.setattr(os, "writev", real)
    now[0] += writer.RETRY_S
    assert made.append(message(result(0)))
    made.close()
    assert made.path is not None
    found = survey(made.path)
    assert found.started is not None and found.channels["image"].stored == 1
    assert made.not_logged == 0


def test_a_result_too_large_for_a_log_costs_itself_only(tmp_path, monkeypatch, caplog):
    made = begin(tmp_path)
    monkeypatch.setattr(log, "FORMAT", replace(log.FORMAT, max_payload_bytes=10_000))
    large = np.zeros(5000, np.float32)
    assert not made.append(message(result(0, large), [large]))
    assert made.append(message(result(1)))
    made.close()
    assert "and 10000 bytes" in caplog.text


def test_a_series_that_was_cut_off_goes_on_in_its_log(tmp_path):
    first = begin(tmp_path)
    first.append(message(result(0)))
    first.close()
    path = first.path
    assert path is not None
    path.write_bytes(path.read_bytes() + b"".join(map(bytes, message(result(1))))[:50])  # a torn write
    second = begin(tmp_path, announced=False, expected=None, published_ns=5_000_000_000)
    second.append(message(result(2)))
    second.append(message(result(0)))
    second.close()
    assert second.path == path
    assert ids(path) == [0, 2]
    assert survey(path).torn_bytes == survey(path).damaged_bytes == 0


@pytest.mark.parametrize(("reason", "same"), [("shutdown", True), ("end", False), ("superseded", False)])
def test_a_series_that_is_over_gets_another_log(tmp_path, reason, same):
    first = begin(tmp_path)
    first.append(message(ended(0, reason=reason)), insist=True)
    first.close()
    second = begin(tmp_path)
    second.close()
    assert (second.path == first.path) is same
    assert len(list(tmp_path.glob("*.log"))) == (1 if same else 2)


def test_a_log_that_was_taken_up_is_not_offered_again(tmp_path):
    begin(tmp_path).close()
    begin(tmp_path, series_uid="v").close()
    left = left_logs(tmp_path)
    made = SeriesWriter(tmp_path, started(), parts := message(started()), FACTS, SHA, left)
    made.append(parts)
    made.close()
    assert made.path is not None
    assert [path for paths in left.values() for path in paths] == [
        path for path in tmp_path.iterdir() if path != made.path
    ]


def test_a_log_does_not_take_the_name_of_a_file(tmp_path):
    first = begin(tmp_path)
    first.close()
    assert first.path is not None
    file = first.path.rename(first.path.with_suffix(".h5"))  # it was built, complete, and its log removed
    second = begin(tmp_path)
    second.close()
    assert second.path is not None
    assert second.path.with_suffix(".h5") != file


def test_a_log_begins_with_a_result_where_the_start_was_left_out(tmp_path):
    parts = message(first := result(4))
    made = SeriesWriter(tmp_path, first, parts, FACTS, SHA, {})
    assert made.append(parts)
    assert made.append(message(result(5)))
    made.append(message(ended(2)), insist=True)
    made.close()
    assert made.path is not None
    assert made.path.name.startswith("19700101T000003Z-det-series-7-peaks-")
    assert ids(made.path) == [4, 5]
    assert survey(made.path).started is None
    again = begin(tmp_path)
    again.close()
    assert again._stem == made._stem


def test_a_log_that_another_process_writes_is_left_alone(tmp_path):
    first, second = begin(tmp_path), begin(tmp_path)
    assert first.path != second.path
    first.close()
    second.close()


def test_a_full_disk_costs_the_results_of_that_moment(tmp_path, monkeypatch, caplog):
    real, now = os.writev, [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])

    def full(fd, buffers):
        real(fd, [bytes(buffers[0])[:5]])  # some bytes still fit
        raise OSError(errno.ENOSPC, "No space left on device")

    made = begin(tmp_path)
    made.append(message(result(0)))
    monkeypatch.setattr(os, "writev", full)
    with caplog.at_level(logging.ERROR):
        assert not made.append(message(result(1)))
        assert not made.append(message(result(2)))
    monkeypatch.setattr(os, "writev", real)
    assert not made.append(message(result(3)))  # it is not asked again at once
    now[0] += writer.RETRY_S
    assert made.append(message(result(4)))
    made.close()
    assert made.not_logged == 3
    said, summed_up = caplog.messages
    assert "No space left on device" in said and "Free space" in said
    assert "3 results" in summed_up
    assert made.path is not None
    assert ids(made.path) == [0, 4]
    assert survey(made.path).torn_bytes == survey(made.path).damaged_bytes == 0


def test_a_log_that_found_no_room_at_all_leaves_its_name_free(tmp_path, monkeypatch):
    real, now = os.writev, [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])

    def full(fd, buffers):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    made = begin(tmp_path)
    assert not made.append(message(result(0)))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(os, "writev", real)
    now[0] += writer.RETRY_S
    assert made.append(message(result(1)))
    made.close()
    assert [path.name for path in tmp_path.iterdir()] == [made.path.name]
    assert not made.path.stem.endswith("-2")


def test_a_folder_that_comes_back_gets_the_rest_of_the_series(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    folder = tmp_path / "mount"
    made = begin(folder)
    assert not made.append(message(result(0)))
    assert made.path is None
    folder.mkdir()
    now[0] += writer.RETRY_S
    assert made.append(message(result(1)))
    made.close()
    assert made.path is not None
    found = survey(made.path)
    assert found.started is not None
    assert ids(made.path) == [1]


def test_the_end_is_tried_even_after_a_failure(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(writer.time, "monotonic", lambda: now[0])
    made = begin(tmp_path / "mount")
    (tmp_path / "mount").mkdir()
    assert made.append(message(ended(0)), insist=True)
    made.close()


def test_a_failing_sync_is_said(tmp_path, monkeypatch, caplog):
    made = begin(tmp_path)

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    made.sync()
    assert "Input/output error" in caplog.text


def test_partial_writes_are_finished(tmp_path, monkeypatch):
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [bytes(buffers[0])[:3]]))
    made = begin(tmp_path)
    made.append(message(result(5)))
    made.close()
    assert made.path is not None
    assert ids(made.path) == [5]


def test_a_log_is_locked_while_it_is_open(tmp_path):
    file = LogFile(tmp_path / "a.log", dict(FACTS))
    with (tmp_path / "a.log").open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.close()


def test_names_hold_nothing_that_leads_elsewhere(tmp_path):
    made = begin(tmp_path, source="../../etc", series_uid="/" * 300, route="a/b")
    made.close()
    assert made.path is not None
    assert made.path.parent == tmp_path
    assert made.path.exists()
