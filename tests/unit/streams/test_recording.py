import errno
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.recording import ring
from streams.recording.reader import CaptureSummary, facts_of, last_checkpoint, read_capture, read_marks, select, survey
from streams.recording.segments import (
    FORMAT,
    Damage,
    Facts,
    Kind,
    Mark,
    Message,
    Place,
    RecordingError,
    index_of,
    pack,
    segments,
)
from streams.recording.writer import RETRY_S, CaptureWriter

FACTS = Facts("det", "simplon-v1", program="test")
QUOTA = 1 << 30
MESSAGES = [[b"{}", b"", b"pixels" * 3], [b"one"], [FORMAT.magic, b"\xf5Rec" * 2], [b""], [b"last", b"of all"]]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: None)


def record(folder: Path, messages=MESSAGES, first_ns: int = 1000) -> Path:
    with CaptureWriter(folder, FACTS, QUOTA) as writer:
        for at, parts in enumerate(messages):
            writer.append(parts, first_ns + at)
    return folder


def content(folder: Path, **span) -> list[list[bytes]]:
    return [list(map(bytes, one.parts)) for one in read_capture(folder, **span) if isinstance(one, Message)]


def damage(folder: Path) -> list[Damage]:
    return [one for one in read_capture(folder) if isinstance(one, Damage)]


def only_segment(folder: Path) -> Path:
    (path,) = segments(folder).values()
    return path


def test_what_was_received_is_read_back(tmp_path):
    with CaptureWriter(tmp_path / "new" / "det", FACTS, QUOTA) as writer:
        writer.append(MESSAGES[0], 7)
        writer.mark({"closed": "u", "open": []})
        writer.append([memoryview(part) for part in MESSAGES[1]], -8)
        assert (writer.messages, writer.lost, writer.failing, writer.removed_segments) == (2, 0, False, 0)
        first, mark, second = read_capture(writer.folder)  # while it is written
    assert isinstance(first, Message) and isinstance(mark, Mark) and isinstance(second, Message)
    assert (first.received_ns, list(map(bytes, first.parts))) == (7, MESSAGES[0])
    assert (second.received_ns, list(map(bytes, second.parts))) == (-8, MESSAGES[1])
    assert mark.facts == {"closed": "u", "open": []}
    assert first.place < mark.place < second.place
    found = survey(writer.folder)
    assert (found.messages, found.marks, found.first_ns, found.last_ns, found.segments) == (2, 1, 7, -8, 1)
    assert (found.damaged_bytes, found.torn_bytes, found.missing_segments) == (0, 0, 0)
    assert found.last_mark == mark.facts
    facts = found.facts
    assert facts is not None and facts.host and facts.created_ns and facts.version == 1
    assert (facts.source, facts.protocol, facts.socket, facts.program) == ("det", "simplon-v1", "pull", "test")


def test_each_writer_begins_a_segment_of_its_own(tmp_path):
    record(tmp_path, MESSAGES[:2])
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        assert writer.began == Place(2, 0)
        writer.append(MESSAGES[2], 9)
        assert content(tmp_path, stop=writer.began) == MESSAGES[:2]
        assert content(tmp_path, start=writer.began) == MESSAGES[2:3]
    assert list(segments(tmp_path)) == [1, 2]


@pytest.mark.parametrize("indexed", [True, False])
def test_cut_at_any_byte_every_whole_message_is_read_and_recording_goes_on(tmp_path, indexed):
    folder = record(tmp_path / "whole")
    raw, index = only_segment(folder).read_bytes(), index_of(only_segment(folder)).read_bytes()
    ends = [*(one.place.offset for one in read_capture(folder)), len(raw)][1:]
    facts_end = next(one.place.offset for one in read_capture(folder))
    cut = tmp_path / "cut"
    for at in range(len(raw)):
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        (cut / "000001.cap").write_bytes(raw[:at])
        if indexed:
            (cut / "000001.idx").write_bytes(index)
        count = sum(end <= at for end in ends)
        assert content(cut) == MESSAGES[:count]
        whole = max((end for end in [8, facts_end, *ends] if end <= at), default=0)
        found = survey(cut)
        assert (found.messages, found.torn_bytes, found.damaged_bytes) == (count, at - whole, 0)
        if at % 8 == 0:
            record(cut, [[b"more"]])
            assert content(cut) == [*MESSAGES[:count], [b"more"]]
            assert (cut / "000001.cap").read_bytes() == raw[:at]


def test_a_changed_byte_costs_its_own_message_and_is_noticed(tmp_path):
    folder = record(tmp_path)
    raw, path = only_segment(folder).read_bytes(), only_segment(folder)
    starts = [one.place.offset for one in read_capture(folder)]
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        hit = [start for start in starts if start <= at][-1:]
        left = MESSAGES if not hit else [one for one, start in zip(MESSAGES, starts, strict=True) if start != hit[0]]
        assert content(folder) == left
        assert sum(one.length for one in damage(folder)) > 0
        found = survey(folder, verify=True)
        assert (found.messages, found.damaged_bytes + found.torn_bytes > 0) == (len(left), True)
        by_index = survey(folder)  # believes what it need not read
        assert by_index.messages in (len(left), len(MESSAGES))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.lists(st.binary(max_size=30), min_size=1, max_size=4), max_size=5), min_size=1, max_size=4),
    st.data(),
)
def test_several_runs_each_killed_at_any_byte(tmp_path_factory, runs, data):
    folder = tmp_path_factory.mktemp("capture")
    expected = []
    for messages in runs:
        record(folder, messages)
        path = list(segments(folder).values())[-1]
        places = [one.place for one in read_capture(folder) if one.place.segment == len(segments(folder))]
        size = path.stat().st_size
        ends = [*(place.offset for place in places[1:]), size]
        at = data.draw(st.integers(0, size))
        os.truncate(path, at)
        expected += [one for one, end in zip(messages, ends, strict=False) if end <= at]
        if data.draw(st.booleans()):
            index = index_of(path)
            os.truncate(index, data.draw(st.integers(0, index.stat().st_size)))
    assert content(folder) == expected
    assert survey(folder).messages == survey(folder, verify=True).messages == len(expected)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=200))
def test_garbage_is_no_message(tmp_path_factory, segment, index):
    folder = tmp_path_factory.mktemp("capture")
    (folder / "000001.cap").write_bytes(segment)
    (folder / "000001.idx").write_bytes(b"EDGEIDX1" + index)
    assert content(folder) == []
    assert (survey(folder).messages, survey(folder).facts) == (0, None)


def test_a_capture_inside_a_message_is_never_mistaken_for_the_capture_around_it(tmp_path):
    inner = record(tmp_path / "inner")
    folder = record(tmp_path / "outer", [[only_segment(inner).read_bytes()], [b"next"]])
    path, at = only_segment(folder), next(one.place.offset for one in read_capture(folder))
    raw = bytearray(path.read_bytes())
    raw[at + 4] ^= 1  # the length of the first message
    path.write_bytes(raw)
    assert content(folder) == [[b"next"]]


def changed_indexes(raw: bytes, foreign: bytes) -> dict[str, bytes | None]:
    return {
        "missing": None,
        "empty": b"",
        "torn": raw[:-5],
        "short": raw[:-64],
        "another capture's": foreign,
        "changed": raw[:45] + bytes([raw[45] ^ 1]) + raw[46:],
        "no index": b"x" * len(raw),
        "zeros at the end": raw + bytes(64),
    }


@pytest.mark.parametrize("kind", list(changed_indexes(bytes(99), b"")))
def test_an_index_that_does_not_fit_is_done_without(tmp_path, kind):
    folder = record(tmp_path / "a")
    foreign = record(tmp_path / "b", [[b"x" * 50], *MESSAGES[::-1]])
    before, index = survey(folder), index_of(only_segment(folder))
    raw = changed_indexes(index.read_bytes(), index_of(only_segment(foreign)).read_bytes())[kind]
    index.unlink()
    if raw is not None:
        index.write_bytes(raw)
    assert survey(folder) == before
    assert before.messages == len(MESSAGES)


def test_an_index_is_believed_where_it_fits(tmp_path, monkeypatch):
    folder = record(tmp_path, [[bytes(50)]] * 100)
    read = []
    monkeypatch.setattr(type(FORMAT), "scan", lambda self, file, start, stop: read.append(stop - start) or iter(()))
    assert survey(folder).messages == 100
    assert read == [0]


def test_whole_oldest_segments_go_when_the_quota_is_full(tmp_path):
    quota, size = 8 * ring.LEAST_SEGMENT_BYTES, 0
    with CaptureWriter(tmp_path, FACTS, quota) as writer:
        for at in range(400):
            writer.append([bytes(300), at.to_bytes(4, "big")], at)
            size = sum(path.stat().st_size for path in tmp_path.iterdir())
            assert size <= quota
        assert writer.removed_segments > 0
    assert size > quota * 0.8
    numbers = [int.from_bytes(parts[1], "big") for parts in content(tmp_path)]
    assert numbers == list(range(numbers[0], 400))
    assert min(segments(tmp_path)) == writer.removed_segments + 1
    assert facts_of(tmp_path) is not None
    assert {path.stem for path in tmp_path.glob("*.idx")} == {path.stem for path in tmp_path.glob("*.cap")}


def test_segments_of_earlier_writers_count(tmp_path):
    quota = 8 * ring.LEAST_SEGMENT_BYTES
    for at in range(30):
        with CaptureWriter(tmp_path, FACTS, quota) as writer:
            writer.append([bytes(3000)], at)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= quota
    assert max(segments(tmp_path)) == 30


def test_a_message_larger_than_a_segment_is_one_record_even_beyond_the_quota(tmp_path):
    large = [bytes(100_000)]
    with CaptureWriter(tmp_path, FACTS, 10_000) as writer:
        for parts in ([b"first"], large, [b"last"]):
            writer.append(parts, 0)
            assert content(tmp_path)[-1] == parts
    assert content(tmp_path) == [[b"last"]]
    assert writer.removed_segments == 2


def test_a_segment_is_full_when_its_index_is(tmp_path, monkeypatch):
    monkeypatch.setattr(ring, "MAX_ENTRIES", 5)
    record(tmp_path, [[bytes([at])] for at in range(10)])
    assert len(segments(tmp_path)) == 4  # three messages each: facts are a record, and one may tell of a loss
    assert len(content(tmp_path)) == 10


def test_what_the_ring_removes_meanwhile_is_left_out(tmp_path):
    for at in range(3):
        record(tmp_path, [[bytes([at])]])
    reading = read_capture(tmp_path)
    next(reading)
    (tmp_path / "000002.cap").unlink()
    assert [list(map(bytes, one.parts)) for one in reading if isinstance(one, Message)] == [[b"\2"]]
    assert survey(tmp_path).missing_segments == 1


def test_one_writer_at_a_time(tmp_path):
    with (
        CaptureWriter(tmp_path, FACTS, QUOTA),
        pytest.raises(RecordingError, match="another process records into"),
    ):
        CaptureWriter(tmp_path, FACTS, QUOTA)
    record(tmp_path)


def test_another_source_or_protocol_needs_another_folder(tmp_path):
    record(tmp_path)
    for facts in (Facts("det", "stream-v2"), Facts("other", "simplon-v1")):
        with pytest.raises(RecordingError, match="holds a capture of source 'det' by simplon-v1"):
            CaptureWriter(tmp_path, facts, QUOTA)
    record(tmp_path)


def test_a_capture_of_a_later_version_is_left_alone(tmp_path):
    later = FORMAT.magic + b"".join(pack(Kind.FACTS, [b'{"source":"d","protocol":"p","version":2,"new":1}'], 0, 8))
    (tmp_path / "000001.cap").write_bytes(later)
    for refused in (facts_of, survey):
        with pytest.raises(RecordingError, match="later version"):
            refused(tmp_path)


@pytest.mark.parametrize("folder", ["/proc/no", "/dev/null/x"])
def test_a_folder_that_cannot_be_written_is_named(folder):
    with pytest.raises(RecordingError, match=f"cannot record in {folder}"):
        CaptureWriter(Path(folder), FACTS, QUOTA)


def test_what_is_no_capture_is_said(tmp_path):
    (tmp_path / "file").touch()
    for what in (lambda folder: list(read_capture(folder)), survey, select):
        with pytest.raises(RecordingError, match="holds no capture"):
            what(tmp_path)
        with pytest.raises(RecordingError, match="holds no capture"):
            what(tmp_path / "absent")
        with pytest.raises(RecordingError, match="cannot read"):
            what(tmp_path / "file")
    assert facts_of(tmp_path) is None


class Disk:
    """Refuses writes while it is full."""

    def __init__(self, monkeypatch) -> None:
        self.full, self._real = False, os.writev
        monkeypatch.setattr(os, "writev", self)

    def __call__(self, fd, buffers):
        if self.full:
            self._real(fd, [bytes(buffers[0])[:5]])  # some bytes still fit
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._real(fd, buffers)


def test_a_full_disk_costs_the_messages_of_that_time_and_the_capture_says_so(tmp_path, monkeypatch):
    disk, now = Disk(monkeypatch), [0.0]
    with CaptureWriter(tmp_path, FACTS, QUOTA, clock=lambda: now[0]) as writer:
        writer.append([b"before"], 1)
        disk.full = True
        for _ in range(3):
            with pytest.raises(RecordingError, match="No space left on device; free space"):
                writer.append([b"lost"], 2)
        with pytest.raises(RecordingError):
            writer.mark({"open": []})
        disk.full = False
        with pytest.raises(RecordingError):  # it is not asked again at once
            writer.append([b"lost"], 3)
        assert (writer.lost, writer.messages, writer.failing) == (4, 1, True)
        now[0] += RETRY_S
        writer.append([b"after"], 4)
        assert (writer.lost, writer.messages, writer.failing) == (4, 2, False)
    assert content(tmp_path) == [[b"before"], [b"after"]]
    assert [one.facts for one in read_capture(tmp_path) if isinstance(one, Mark)] == [{"lost": 4}]
    found = survey(tmp_path)
    assert (found.lost, found.marks, found.damaged_bytes, found.torn_bytes) == (4, 0, 0, 0)


def test_a_write_that_cannot_be_taken_back_ends_its_segment(tmp_path, monkeypatch):
    disk, now, real = Disk(monkeypatch), [0.0], os.ftruncate

    def broken(fd, size):
        raise OSError(errno.EIO, "Input/output error")

    with CaptureWriter(tmp_path, FACTS, QUOTA, clock=lambda: now[0]) as writer:
        writer.append([b"before"], 1)
        disk.full = True
        monkeypatch.setattr(os, "ftruncate", broken)
        with pytest.raises(RecordingError, match="Input/output error"):
            writer.append([b"lost"], 2)
        disk.full = False
        monkeypatch.setattr(os, "ftruncate", real)
        now[0] += RETRY_S
        writer.append([b"after"], 3)
    assert content(tmp_path) == [[b"before"], [b"after"]]
    assert (survey(tmp_path).torn_bytes, survey(tmp_path).lost, survey(tmp_path).segments) == (5, 1, 2)


def test_without_an_index_the_capture_is_the_same(tmp_path, monkeypatch):
    def full(fd, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    record(tmp_path)
    assert index_of(only_segment(tmp_path)).stat().st_size == 0
    assert survey(tmp_path).messages == len(MESSAGES)


def test_a_segment_that_cannot_be_begun_leaves_nothing(tmp_path, monkeypatch):
    disk = Disk(monkeypatch)
    disk.full = True
    with pytest.raises(RecordingError, match="No space left"):
        CaptureWriter(tmp_path, FACTS, QUOTA)
    assert segments(tmp_path) == {}
    disk.full = False
    record(tmp_path)  # the lock is free


def test_a_message_that_no_record_holds_costs_itself_only(tmp_path):
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        with pytest.raises(RecordingError, match="a message is not recorded"):
            writer.append([b""] * FORMAT.max_parts, 1)
        writer.append([b"next"], 2)
        assert (writer.lost, writer.failing) == (1, False)
    assert survey(tmp_path).lost == 1


def test_a_folder_that_was_removed_is_made_again(tmp_path):
    folder = tmp_path / "det"
    with CaptureWriter(folder, FACTS, QUOTA) as writer:
        writer.append([b"gone"], 1)
        shutil.rmtree(folder)
        with pytest.raises(RecordingError, match="No such file"):
            writer.sync()
        writer.append([b"again"], 2)
        writer.sync()
    assert content(folder) == [[b"again"]]


def test_a_failing_sync_is_said_and_close_never_raises(tmp_path, monkeypatch, caplog):
    writer = CaptureWriter(tmp_path, FACTS, QUOTA)
    writer.append([b"x"], 1)

    def fails(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(RecordingError, match="Input/output error"):
        writer.sync()
    writer.close()
    writer.close()
    assert "Input/output error" in caplog.text
    assert content(tmp_path) == [[b"x"]]


def test_sync_brings_full_segments_to_the_disk_too_and_keeps_no_descriptor(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}").rpartition("/")[2]))
    before = len(os.listdir("/proc/self/fd"))
    with CaptureWriter(tmp_path, FACTS, 4096 * 8) as writer:
        for at in range(12):
            writer.append([bytes(3000)], at)
        writer.sync()
        assert [name.partition(".")[0] for name in synced] == [*(f"{at:06}" for at in range(1, 13)), tmp_path.name]
        for at in range(100):
            writer.append([bytes(3000)], at)
        assert len(os.listdir("/proc/self/fd")) < before + 30
    assert len(os.listdir("/proc/self/fd")) == before


def unfinished(folder: Path, stop: Place | None = None) -> list:
    found = read_capture(folder, last_checkpoint(folder), stop)
    return [one.facts if isinstance(one, Mark) else bytes(one.parts[0]) for one in found]  # pyright: ignore


def test_recovery_begins_behind_the_last_moment_when_nothing_was_open(tmp_path):
    assert last_checkpoint(tmp_path) is last_checkpoint(tmp_path / "absent") is None
    assert list(read_marks(tmp_path / "absent")) == []
    marks = [{"settled": "u0", "open": []}, {"settled": "u1", "open": ["u2"]}, {"closed": "u2"}]
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        writer.append([b"a"], 1)
        assert last_checkpoint(tmp_path) is None
        assert unfinished(tmp_path) == [b"a"]
        writer.mark(marks[0])
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        writer.append([b"b"], 2)
        writer.mark(marks[1])
        writer.append([b"c"], 3)
        writer.mark(marks[2])
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        writer.append([b"afterwards"], 4)
        assert unfinished(tmp_path, writer.began) == [b"b", marks[1], b"c", marks[2]]
        assert unfinished(tmp_path) == [b"b", marks[1], b"c", marks[2], b"afterwards"]
        assert [one.facts for one in read_marks(tmp_path, last_checkpoint(tmp_path), writer.began)] == marks[1:]
        assert [one.facts for one in read_marks(tmp_path)] == marks
        writer.mark({"open": []})
        assert unfinished(tmp_path) == []


def test_a_mark_may_say_where_the_oldest_unfinished_series_began(tmp_path):
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        writer.append([b"a"], 1)
        began = writer.place
        writer.append([b"b"], 2)
    assert began == [one.place for one in read_capture(tmp_path)][1]
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        assert writer.began < writer.place
        writer.mark({"settled": "u", "open": ["v"], "from": began})
        for nonsense in (None, [1], "x", [1, "y"], [1, 2, 3], [-1.5, 2]):
            writer.mark({"open": ["v"], "from": nonsense})
        writer.append([b"c"], 3)
        assert last_checkpoint(tmp_path) == began
        assert content(tmp_path, start=last_checkpoint(tmp_path)) == [[b"b"], [b"c"]]
        writer.mark({"settled": "w", "open": [], "from": began})  # a recovery has not come farther
        assert last_checkpoint(tmp_path) == began
        here = writer.place
        writer.mark({"from": Place(99, 0)})
        assert last_checkpoint(tmp_path) == here  # never beyond the mark itself


def test_a_damaged_checkpoint_is_not_believed(tmp_path):
    with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
        writer.mark({"open": []})
        writer.append([b"a"], 1)
        writer.mark({"open": []})
    first, _ = read_marks(tmp_path)
    path = only_segment(tmp_path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-2] + b"x}")
    assert content(tmp_path, start=last_checkpoint(tmp_path)) == [[b"a"]]
    assert last_checkpoint(tmp_path) is not None
    path.write_bytes(raw[: first.place.offset])
    assert last_checkpoint(tmp_path) is None


SECOND = 10**9


@pytest.mark.parametrize(
    ("asked", "numbers"),
    [
        ({}, range(10)),
        ({"messages": (2, 5)}, range(2, 5)),
        ({"messages": (None, 3)}, range(3)),
        ({"messages": (8, None)}, range(8, 10)),
        ({"messages": (20, 30)}, []),
        ({"seconds": (0.0, 1.0)}, range(2)),
        ({"seconds": (1.0, 2.5)}, range(2, 5)),
        ({"messages": (3, None), "seconds": (None, 2.0)}, [3]),
    ],
)
def test_a_subset_by_number_and_by_time(tmp_path, asked, numbers):
    for run in range(2):
        with CaptureWriter(tmp_path, FACTS, QUOTA) as writer:
            for at in range(5 * run, 5 * run + 5):
                writer.append([bytes([at])], 50 * SECOND + at * SECOND // 2)
                writer.mark({})
    start, stop = select(tmp_path, **asked)
    assert content(tmp_path, start=start, stop=stop) == [[bytes([number])] for number in numbers]


def test_an_empty_capture_is_one(tmp_path):
    record(tmp_path, [])
    found = survey(tmp_path)
    assert (found.messages, found.segments, found.first_ns) == (0, 1, None)
    assert found != CaptureSummary()
    start, stop = select(tmp_path)
    assert content(tmp_path, start=start, stop=stop) == []
