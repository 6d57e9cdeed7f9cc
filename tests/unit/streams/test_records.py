import errno
import io
import os
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.recording import records as framing
from streams.recording.records import MARK, Damage, Format, Record, RecordsError, append

PLAIN = Format(b"TESTLOG1", max_parts=6, max_payload_bytes=1 << 20)
PLACED = Format(b"TESTLOG2", max_parts=6, max_payload_bytes=1 << 20, placed=True)
FORMATS = st.sampled_from([PLAIN, PLACED])
PAYLOADS = st.lists(
    st.lists(st.binary(max_size=20) | st.just(MARK * 2), min_size=1, max_size=4), min_size=1, max_size=6
)


def content(records: list[list[bytes]], form: Format = PLAIN) -> bytes:
    raw = form.magic
    for parts in records:
        raw += b"".join(form.pack(parts, len(raw)))
    return raw


def read(raw: bytes, form: Format = PLAIN) -> tuple[list[list[bytes]], list[Damage]]:
    found = list(form.read(io.BytesIO(raw)))
    records = [[bytes(part) for part in one.parts] for one in found if isinstance(one, Record)]
    return records, [one for one in found if isinstance(one, Damage)]


@given(PAYLOADS, FORMATS)
def test_round_trip(records, form):
    assert read(content(records, form), form) == (records, [])


@given(PAYLOADS, FORMATS, st.data())
def test_cut_at_any_byte_it_is_a_prefix(records, form, data):
    raw = content(records, form)
    at = data.draw(st.integers(0, len(raw)))
    whole, damage = read(raw[:at], form)
    ends = [len(content(records[:count], form)) for count in range(len(records) + 1)]
    count = sum(end <= at for end in ends[1:])
    assert whole == records[:count]
    torn = at - (ends[count] if at >= len(form.magic) else 0)
    assert [one.stop - one.start for one in damage] == ([torn] if torn else [])


@settings(max_examples=300)
@given(PAYLOADS, FORMATS, st.data())
def test_a_changed_byte_costs_its_record_and_no_other(records, form, data):
    raw = bytearray(content(records, form))
    at = data.draw(st.integers(len(form.magic), len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    ends = [len(content(records[:count], form)) for count in range(len(records) + 1)]
    hit = sum(end <= at for end in ends[1:])
    whole, damage = read(bytes(raw), form)
    assert whole == records[:hit] + records[hit + 1 :]
    assert damage == [Damage(ends[hit], ends[hit + 1])]


@given(PAYLOADS, FORMATS, st.binary(max_size=60))
def test_what_was_overwritten_is_never_taken_for_a_record(records, form, garbage):
    raw = content(records, form) + garbage
    whole, _ = read(raw + b"".join(form.pack([b"last"], len(raw))), form)
    assert whole == [*records, [b"last"]]


@given(PAYLOADS, PAYLOADS)
def test_a_record_inside_a_record_is_not_read_when_the_outer_one_is_damaged(outer, inner):
    form = PLACED
    raw = bytearray(content([[content(inner, form)], *outer], form))
    raw[len(form.magic) + 4] ^= 1  # the length of the first
    whole, _ = read(bytes(raw), form)
    assert whole == outer
    raw[-1] ^= 1
    assert read(bytes(raw), form)[0] == outer[:-1]


@given(PAYLOADS)
def test_a_record_that_the_disk_put_elsewhere_is_none(records):
    raw = content(records, PLACED)
    assert read(raw[:8] + b"\0" + raw[8:], PLACED)[0] == []
    assert read(raw[:8] + b"\0" + raw[8:], Format(PLACED.magic, 6))[0] == []  # nor is it one of another format


@given(st.binary(max_size=200), FORMATS)
def test_garbage_is_of_no_format_or_holds_nothing(garbage, form):
    try:
        assert read(garbage, form)[0] == []
    except RecordsError as error:
        assert "does not begin" in str(error)


def forged(payload: bytes, length: int | None = None) -> bytes:
    """A record whose checksum is right, whatever it holds."""
    size = struct.pack("<I", len(payload) if length is None else length)
    return MARK + size + struct.pack("<I", zlib.crc32(payload, zlib.crc32(size))) + payload


@pytest.mark.parametrize(
    "record",
    [
        forged(b"", 2**32 - 1),
        forged(b"", PLAIN.max_payload_bytes),
        forged(b""),
        forged(b"\0"),
        forged(b"\0\0"),
        forged(b"\xff\xff"),
        forged(b"\1\0" + b"\xff" * 4),
        forged(b"\1\0" + struct.pack("<I", 3) + b"ab"),
        forged(b"\1\0" + struct.pack("<I", 1) + b"ab"),
    ],
)
def test_no_length_is_believed(record):
    good = b"".join(PLAIN.pack([b"good"]))
    whole, damage = read(PLAIN.magic + record + good)
    assert whole == [[b"good"]]
    assert damage == [Damage(8, 8 + len(record))]


def test_a_file_of_nothing_but_marks_is_given_up_in_time():
    tail = b"".join(PLAIN.pack([b"unreached"]))
    whole, damage = read(PLAIN.magic + (MARK * (framing.MAX_FALSE_MARKS + 1)) + tail)
    assert (whole, len(damage)) == ([], 1)


@pytest.mark.parametrize("around", range(-4, 5))
def test_a_record_is_found_across_the_edge_of_a_chunk(around, monkeypatch):
    monkeypatch.setattr(framing, "CHUNK_BYTES", 64)
    garbage = b"x" * (63 + around)
    whole, _ = read(PLAIN.magic + garbage + b"".join(PLAIN.pack([b"found"])))
    assert whole == [[b"found"]]


def test_only_what_a_reader_believes_is_written():
    class Huge(bytes):
        def __len__(self) -> int:
            return PLAIN.max_payload_bytes

    for parts in ([], [b""] * (PLAIN.max_parts + 1), [Huge()]):
        with pytest.raises(ValueError, match="no record"):
            PLAIN.pack(parts)


def test_reading_stops_where_told():
    raw = content([[b"one"], [b"two"]])
    upto = len(content([[b"one"]]))
    assert [one.stop for one in PLAIN.read(io.BytesIO(raw), upto)] == [upto]


def test_a_write_is_finished_or_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    real, room = os.writev, 5

    def full(fd, buffers):
        left = room - os.fstat(fd).st_size
        if left <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, [bytes(buffers[0])[:left]])

    monkeypatch.setattr(os, "writev", full)
    with (tmp_path / "file").open("wb", buffering=0) as file:
        end = append(file.fileno(), [b"abc", b"", b"de"], 0)
        with pytest.raises(OSError, match="No space"):
            append(file.fileno(), [b"f"], end)
        room = 7
        with pytest.raises(OSError, match="No space"):
            append(file.fileno(), [b"fg", b"h"], end)
        room = 8
        assert append(file.fileno(), [b"FG", b"H"], end) == 8
    assert (tmp_path / "file").read_bytes() == b"abcdeFGH"
