"""What can be known of each fault, by what the protocol can say. The code is held against it."""

from enum import StrEnum

import msgspec

from streams.codecs import PROTOCOLS
from streams.simulation.faults import FAULTS

ORDERS = {
    "drop": "drop=0.1", "drop-first": "drop-first=3", "drop-last": "drop-last=3", "duplicate": "duplicate=0.1",
    "reorder": "reorder=0.2", "delay": "delay=0.2", "truncate": "truncate=0.1", "corrupt": "corrupt=0.1",
    "corrupt-header": "corrupt-header=0.1", "late-start": "late-start", "early-end": "early-end",
    "no-start": "no-start", "no-end": "no-end", "abort": "abort=0.6", "restart": "restart=0.6",
    "restart-same": "restart-same=0.6", "stale": "stale=0.6", "empty": "empty=0.2",
    "second-consumer": "second-consumer=2",
    "together": "drop=0.05 truncate=0.05 duplicate=0.1 reorder=0.2",
}  # fmt: skip
"""How each fault is ordered here; the last cell has several at once."""

assert list(ORDERS) == [*FAULTS, "together"]


class Kind(StrEnum):
    DETECTABLE = "detectable"
    WITH_COUNT = "detectable given the expected count"
    UNDETECTABLE = "undetectable"
    ABSENT = "no such message"


SYMBOLS = {Kind.DETECTABLE: "●", Kind.WITH_COUNT: "◐", Kind.UNDETECTABLE: "○", Kind.ABSENT: "-"}


class Declared(msgspec.Struct, frozen=True):
    """One cell: a fault of a protocol."""

    kind: Kind
    reason: str
    between: bool = False  # the claim covers the ids between the first and the last that came
    wild: bool = False  # an id that was changed is believed: then even `missing` may name images that never were
    options: tuple[tuple[str, bool], ...] = ()  # of the decoder


def _detectable(reason: str, between: bool = False) -> Declared:
    return Declared(Kind.DETECTABLE, reason, between)


_ANNOUNCED = {
    "drop": _detectable("ids have holes, and the start tells how many there are"),
    "drop-first": _detectable("ids begin at 0"),
    "drop-last": _detectable("the start tells how many images there are"),
    "duplicate": _detectable("an id that was there"),
    "reorder": _detectable("images are taken by id, not by order"),
    "delay": _detectable("images are taken by id, not by time"),
    "truncate": _detectable("sizes contradict each other: failed, or not readable and so missing"),
    "corrupt": Declared(Kind.UNDETECTABLE, "no checksum: `complete` says that images came, it cannot vouch for pixels"),
    "corrupt-header": Declared(Kind.UNDETECTABLE, "no checksum: an id that was changed is believed", wild=True),
    "late-start": _detectable("the frames before it open the series, the start joins it"),
    "early-end": _detectable("the end waits for awaited images for a grace period"),
    "no-start": Declared(Kind.WITH_COUNT, "`announced` is false; how many there are only the controller can say"),
    "no-end": _detectable("closed for silence: reason `idle`"),
    "abort": _detectable("the end came, and images that were announced did not: reason `grace_over`"),
    "restart": _detectable("another start: reason `superseded`"),
    "restart-same": _detectable("the arming date differs"),
    "stale": _detectable("they name a series that was closed when another was opened"),
    "second-consumer": Declared(Kind.WITH_COUNT, "the stride shows; how many there are, if the other got the start"),
    "together": _detectable("as each alone"),
}

_UNNUMBERED = {
    "drop": _detectable("ids have holes", between=True),
    "drop-first": Declared(Kind.UNDETECTABLE, "the stream has no start: it may have begun there"),
    "drop-last": Declared(Kind.WITH_COUNT, "the stream has no end: it may have stopped there"),
    "duplicate": _detectable("an id that was there, taken at the same time", between=True),
    "reorder": _detectable("images are taken by id, not by order", between=True),
    "delay": _detectable("images are taken by id, not by time", between=True),
    "truncate": _detectable("sizes contradict each other: failed, or not readable and so missing", between=True),
    "corrupt": _ANNOUNCED["corrupt"],
    "corrupt-header": _ANNOUNCED["corrupt-header"],
    "late-start": Declared(Kind.ABSENT, "the stream has no start"),
    "early-end": Declared(Kind.ABSENT, "the stream has no end"),
    "no-start": Declared(Kind.ABSENT, "the stream has no start"),
    "no-end": Declared(Kind.ABSENT, "the stream has no end"),
    "abort": Declared(Kind.WITH_COUNT, "the stream has no end: it may have stopped there"),
    "restart": Declared(Kind.WITH_COUNT, "ids go back, times go on; how long the first one was to be needs the count"),
    "restart-same": Declared(Kind.WITH_COUNT, "series have no numbers: as `restart`"),
    "stale": Declared(Kind.WITH_COUNT, "they were taken before the series that is open; the rest is as with `restart`"),
    "empty": _detectable("the sender says so: `absent`, and nothing is missing", between=True),
    "second-consumer": _detectable("the stride shows", between=True),
    "together": _detectable("as each alone", between=True),
}

_CHECKSUM = Declared(
    Kind.DETECTABLE, "the md5 of the pixels, with the option `verify_hash`", options=(("verify_hash", True),)
)


def declared(protocol: str, fault: str) -> Declared:
    """What can be known of `fault` in a stream of `protocol`, and why."""
    traits = PROTOCOLS[protocol]
    if fault == "empty" and not traits.empty:
        return Declared(Kind.ABSENT, "every exposure has an image")
    if fault == "corrupt" and traits.checksum:
        return _CHECKSUM
    return (_ANNOUNCED if traits.start else _UNNUMBERED)[fault]
