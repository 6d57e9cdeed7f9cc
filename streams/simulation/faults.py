"""What goes wrong on purpose: the names of the faults that a simulated detector can be ordered to have."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """What a fault's value means, and its bounds."""

    default: float
    least: float
    most: float
    text: str
    whole: bool = False  # an integer
    plans: bool = False  # it changes what is sent, not how: only who encodes a series can do that


def _rate(text: str) -> Kind:
    return Kind(0.05, 0.0, 1.0, f"this part of the images {text}")


def _moment(text: str) -> Kind:
    return Kind(0.5, 0.0, 1.0, f"after this part of the images {text}", plans=True)


def _switch(text: str) -> Kind:
    return Kind(1, 1, 1, text, whole=True)


FAULTS: Mapping[str, Kind] = {
    "drop": _rate("is never sent"),
    "drop-first": Kind(1, 0, 1e6, "so many messages with images, from the first on, are never sent", whole=True),
    "drop-last": Kind(1, 0, 1e4, "so many messages with images, the last ones, are never sent", whole=True),
    "duplicate": _rate("is sent twice"),
    "reorder": _rate("is overtaken by up to eight that follow it"),
    "delay": _rate("leaves a tenth of a second late"),
    "truncate": _rate("is sent with a part cut short, or without its last parts"),
    "corrupt": _rate("is sent with some bytes of its pixels changed"),
    "corrupt-header": _rate("is sent with some bytes changed that are no pixels"),
    "late-start": _switch("up to three images overtake the start"),
    "early-end": _switch("the end overtakes up to three images"),
    "no-start": _switch("the start is never sent, as for a receiver that joined late"),
    "no-end": _switch("the end is never sent, as after a crash of the detector's computer"),
    "abort": _moment("the series is ended"),
    "restart": _moment("the detector begins a series with the next number, without an end"),
    "restart-same": _moment("the detector begins a series with the same number and unique id, without an end"),
    "stale": _moment("the next series begins, and what was queued of this one comes in between"),
    "empty": Kind(0.05, 0.0, 1.0, "this part of the messages says that there is no image: nothing is lost", plans=True),
    "second-consumer": Kind(2, 2, 100, "so many consumers take turns; this is what one of them gets", whole=True),
}
"""By the names that are ordered; the order is that in which they are listed."""


class Fault(msgspec.Struct, frozen=True):
    """One order."""

    name: str  # in `FAULTS`
    value: float

    @property
    def plans(self) -> bool:
        """Whether only who encodes a series can obey it."""
        return FAULTS[self.name].plans


def read_fault(text: str) -> Fault:
    """An order as users write it: "drop=0.01", "no-end", "second-consumer=3".

    Raises:
        ValueError: there is no such fault, or not of that value.
    """
    name, equals, given = text.partition("=")
    kind = FAULTS.get(name)
    if kind is None:
        raise ValueError(f"no fault {name[:40]!r}; there are {', '.join(FAULTS)}")
    try:
        value = float(given) if equals else kind.default
    except ValueError:
        value = float("nan")
    if not kind.least <= value <= kind.most or (kind.whole and value != int(value)):
        what = "an integer" if kind.whole else "a number"
        raise ValueError(
            f"fault {name}: {given[:40]!r} is not {what} from {kind.least:g} to {kind.most:g}: {kind.text}"
        )
    return Fault(name, value)


@dataclass(frozen=True)
class Faults:
    """All orders of one sender. Those by image id need no dice; the same `seed` gives the same faults."""

    lost: frozenset[int] = frozenset()  # image ids that are never sent
    repeated: frozenset[int] = frozenset()  # image ids that are sent twice
    corrupted: frozenset[int] = frozenset()  # image ids whose largest part is cut in half
    no_start: bool = False
    no_end: bool = False
    orders: tuple[Fault, ...] = ()
    seed: int = 0

    def value(self, name: str) -> float | None:
        """The value of the fault `name`; None where it was not ordered."""
        given = {order.name: order.value for order in self.orders}
        given |= {"no-start": 1.0} if self.no_start else {}
        given |= {"no-end": 1.0} if self.no_end else {}
        return given.get(name)
