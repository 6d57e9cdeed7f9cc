"""The append-only log of results: `streams.recording.records` whose parts are one message of `streams.codecs.results`.

A record of a single part holds facts about the log as a JSON object.
"""

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from edge.results.errors import ResultFileError
from streams.codecs.results import MAX_ARRAYS
from streams.messages import Part
from streams.recording.records import Damage, Format, Record, RecordsError

MAGIC = b"EDGELOG1"
FORMAT = Format(MAGIC, max_parts=2 + MAX_ARRAYS)
"""Records up to 1 GiB: a float32 image of 16k x 16k pixels."""


def pack(parts: Sequence[Part]) -> list[Part]:
    """The bytes of one record, to be written in this order; the parts are not copied.

    Raises:
        ValueError: more parts or bytes than a reader would believe.
    """
    return FORMAT.pack(parts)


def read(file: BinaryIO, upto: int | None = None) -> Iterator[Record | Damage]:
    """Everything in a log, in order, as `streams.recording.records.Format.read`.

    Raises:
        ResultFileError: it is no log.
        OSError: it cannot be read.
    """
    try:
        yield from FORMAT.read(file, upto)
    except RecordsError as error:
        raise ResultFileError(f"not a log of results: {error}") from error
