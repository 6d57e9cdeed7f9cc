import io
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.results import log
from edge.results.errors import ResultFileError

PAYLOADS = st.lists(
    st.lists(st.binary(max_size=20) | st.just(log.MARK * 2), min_size=1, max_size=4), min_size=1, max_size=6
)


def content(records: list[list[bytes]]) -> bytes:
    return log.MAGIC + b"".join(b"".join(log.pack(parts)) for parts in records)


def read(raw: bytes) -> tuple[list[list[bytes]], list[log.Damage]]:
    found = list(log.read(io.BytesIO(raw)))
    records = [[bytes(part) for part in one.parts] for one in found if isinstance(one, log.Record)]
    return records, [one for one in found if isinstance(one, log.Damage)]


@given(PAYLOADS)
def test_round_trip(records):
    assert read(content(records)) == (records, [])


@given(PAYLOADS, st.data())
def test_cut_at_any_byte_it_is_a_prefix(records, data):
    raw = content(records)
    at = data.draw(st.integers(0, len(raw)))
    whole, damage = read(raw[:at])
    ends = [len(content(records[:count])) for count in range(len(records) + 1)]
    count = sum(end <= at for end in ends[1:])
    assert whole == records[:count]
    torn = at - (ends[count] if at >= len(log.MAGIC) else 0)
    assert [one.stop - one.start for one in damage] == ([torn] if torn else [])


@settings(max_examples=300)
@given(PAYLOADS, st.data())
def test_a_changed_byte_costs_its_record_and_no_other(records, data):
    raw = bytearray(content(records))
    at = data.draw(st.integers(len(log.MAGIC), len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    ends = [len(content(records[:count])) for count in range(len(records) + 1)]
    hit = sum(end <= at for end in ends[1:])
    whole, damage = read(bytes(raw))
    assert whole == records[:hit] + records[hit + 1 :]
    assert damage == [log.Damage(ends[hit], ends[hit + 1])]


@given(PAYLOADS, st.binary(max_size=60))
def test_what_was_overwritten_is_never_taken_for_a_record(records, garbage):
    raw = content(records)
    whole, _ = read(raw + garbage + b"".join(log.pack([b"last"])))
    assert whole == [*records, [b"last"]]


@given(st.binary(max_size=200))
def test_garbage_is_no_log_or_holds_nothing(garbage):
    try:
        assert read(garbage)[0] == []
    except ResultFileError as error:
        assert "not a log" in str(error)


def forged(payload: bytes, length: int | None = None) -> bytes:
    """A record whose checksum is right, whatever it holds."""
    size = struct.pack("<I", len(payload) if length is None else length)
    return log.MARK + size + struct.pack("<I", zlib.crc32(payload, zlib.crc32(size))) + payload


@pytest.mark.parametrize(
    "record",
    [
        forged(b"", 2**32 - 1),
        forged(b"", log.MAX_PAYLOAD_BYTES),
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
    good = b"".join(log.pack([b"good"]))
    whole, damage = read(log.MAGIC + record + good)
    assert whole == [[b"good"]]
    assert damage == [log.Damage(8, 8 + len(record))]


def test_a_file_of_nothing_but_marks_is_given_up_in_time():
    tail = b"".join(log.pack([b"unreached"]))
    whole, damage = read(log.MAGIC + (log.MARK * (log.MAX_FALSE_MARKS + 1)) + tail)
    assert (whole, len(damage)) == ([], 1)


@pytest.mark.parametrize("around", range(-4, 5))
def test_a_record_is_found_across_the_edge_of_a_chunk(around, monkeypatch):
    monkeypatch.setattr(log, "CHUNK_BYTES", 64)
    garbage = b"x" * (63 + around)
    whole, _ = read(log.MAGIC + garbage + b"".join(log.pack([b"found"])))
    assert whole == [[b"found"]]


def test_only_what_a_reader_believes_is_written():
    class Huge(bytes):
        def __len__(self) -> int:
            return log.MAX_PAYLOAD_BYTES

    for parts in ([], [b""] * (log.MAX_PARTS + 1), [Huge()]):
        with pytest.raises(ValueError, match="no record"):
            log.pack(parts)


def test_reading_stops_where_told():
    raw = content([[b"one"], [b"two"]])
    upto = len(content([[b"one"]]))
    assert [one.stop for one in log.read(io.BytesIO(raw), upto)] == [upto]
