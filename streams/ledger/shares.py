"""A worker's share of a stream that is dealt out to several."""

import re

import msgspec

MAX_WORKERS = 1024


class Share(msgspec.Struct, frozen=True):
    """Worker `part` (from 1) of `of` that pull from one stream."""

    part: int
    of: int

    def __str__(self) -> str:
        return f"{self.part}/{self.of}"


def read_share(text: str) -> Share | None:
    """The share that a configuration names, as "2/3"; None where it is empty.

    Raises:
        ValueError: it is no share.
    """
    if not text:
        return None
    found = re.fullmatch(r"(\d{1,4})/(\d{1,4})", text, re.ASCII)
    share = Share(int(found[1]), int(found[2])) if found else Share(0, 0)
    if not 1 <= share.part <= share.of <= MAX_WORKERS:
        raise ValueError(f"{text[:40]!r} is no share of a stream; write WORKER/WORKERS, for the first of three 1/3")
    return share
