import io

import pytest

from edge.results import log
from edge.results.errors import ResultFileError


def test_a_log_is_read_as_it_was_written_for_ever():
    raw = log.MAGIC + b"".join(log.pack([b"{}"])) + b"".join(log.pack([b"route", b"header", b""]))
    assert raw.hex() == (  # these bytes are on users' disks
        "454447454c4f4731f552656308000000b8bcc41e0100020000007b7d"
        "f552656319000000bd65eb610300050000000600000000000000726f757465686561646572"
    )
    found = [one for one in log.read(io.BytesIO(raw)) if isinstance(one, log.Record)]
    assert [list(map(bytes, one.parts)) for one in found] == [[b"{}"], [b"route", b"header", b""]]


def test_what_is_no_log_is_said_in_words():
    with pytest.raises(ResultFileError, match="not a log of results"):
        list(log.read(io.BytesIO(b"EDGECAP1")))
