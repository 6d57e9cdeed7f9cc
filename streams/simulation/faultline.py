"""Faults on the way: what leaves of each message that a detector would send."""

import random
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from streams.simulation.damage import Step, corrupt, corrupt_header, cut, largest, truncate
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire, is_image

DELAY_S = 0.1
OVERTAKING = 8
"""By how many messages with images one may be overtaken."""

ENDS = 3
"""How many images may overtake a start, or be overtaken by an end."""


class FaultLine:
    """Messages in, messages out. The faults that need whoever encodes (`Fault.plans`) are not its own."""

    def __init__(self, faults: Faults) -> None:
        self._steps = [_by_ids(faults)]
        for name, make in _STEPS.items():
            value = faults.value(name)
            if value is not None:
                self._steps.append(make(value, random.Random(f"{faults.seed} {name}")))

    def feed(self, message: OnWire) -> list[OnWire]:
        """What leaves now that `message` is to be sent."""
        return self._through(self._steps, [message])

    def rest(self) -> list[OnWire]:
        """What was held back, when nothing more is to be sent."""
        out: list[OnWire] = []
        for at, step in enumerate(self._steps):
            out += self._through(self._steps[at + 1 :], list(step(None)))
        return out

    @staticmethod
    def _through(steps: list[Step], messages: list[OnWire]) -> list[OnWire]:
        for step in steps:
            messages = [passed for message in messages for passed in step(message)]
        return messages


def _by_ids(faults: Faults) -> Step:
    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is None:
            return
        if message.image_id is None:
            yield message
            return
        ids = range(message.image_id, message.image_id + message.images)
        if not faults.lost.isdisjoint(ids):
            return
        if not faults.corrupted.isdisjoint(ids):
            message = cut(message, largest(message.parts), 0.5)
        yield message
        if not faults.repeated.isdisjoint(ids):
            yield _again(message)

    return step


def _drop(rate: float, dice: random.Random) -> Step:
    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is not None and not (is_image(message) and dice.random() < rate):
            yield message

    return step


def _drop_first(count: float, dice: random.Random) -> Step:
    passed: dict[int, int] = {}  # by series

    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is None:
            return
        if is_image(message):
            passed[message.series] = passed.get(message.series, 0) + 1
        if not is_image(message) or passed[message.series] > count:
            yield message

    return step


def _drop_last(count: float, dice: random.Random) -> Step:
    held: deque[OnWire] = deque()

    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is None or message.kind in ("start", "end") or (held and held[0].series != message.series):
            held.clear()
        if message is None:
            return
        if not is_image(message):
            yield message
            return
        held.append(message)
        if len(held) > count:
            yield held.popleft()

    return step


def _late(message: OnWire | None, held: list[tuple[int, OnWire]]) -> Iterable[OnWire]:
    """Those whose time has come: `held` is (images still to pass, message). Nothing is held beyond its series."""
    over = message is None or not is_image(message) or any(one.series != message.series for _, one in held)
    for at in reversed(range(len(held))):
        left, one = held[at]
        held[at] = (left - 1, one)
    due = [one for left, one in held if over or left <= 0]
    held[:] = [(left, one) for left, one in held if not over and left > 0]
    return due


def _duplicate(rate: float, dice: random.Random) -> Step:
    held: list[tuple[int, OnWire]] = []

    def step(message: OnWire | None) -> Iterable[OnWire]:
        yield from _late(message, held)
        if message is None:
            return
        yield message
        if is_image(message) and dice.random() < rate:
            held.append((dice.randrange(OVERTAKING) + 1, _again(message)))

    return step


def _reorder(rate: float, dice: random.Random) -> Step:
    held: list[tuple[int, OnWire]] = []

    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is not None and is_image(message) and all(one.series == message.series for _, one in held):
            waits = dice.random() < rate
            if not waits:
                yield message
            yield from _late(message, held)
            if waits:
                held.append((dice.randrange(OVERTAKING) + 1, message))
            return
        yield from _late(message, held)
        if message is not None:
            yield message

    return step


def _delay(rate: float, dice: random.Random) -> Step:
    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is not None:
            waits = is_image(message) and dice.random() < rate
            yield msgspec.structs.replace(message, delay_s=DELAY_S) if waits else message

    return step


def _late_start(_: float, dice: random.Random) -> Step:
    held: list[tuple[int, OnWire]] = []

    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is not None and message.kind == "start":
            held.append((dice.randrange(ENDS) + 1, message))
            return
        if message is not None and is_image(message):
            yield message
            yield from _late(message, held)
            return
        yield from _late(message, held)
        if message is not None:
            yield message

    return step


def _early_end(_: float, dice: random.Random) -> Step:
    held: deque[OnWire] = deque()
    ahead = dice.randrange(ENDS) + 1

    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is not None and is_image(message):
            held.append(message)
            if len(held) > ahead:
                yield held.popleft()
            return
        if message is not None and message.kind == "end":
            yield message
        yield from held
        held.clear()
        if message is not None and message.kind != "end":
            yield message

    return step


def _without(kind: str) -> Callable[[float, random.Random], Step]:
    def make(_: float, dice: random.Random) -> Step:
        def step(message: OnWire | None) -> Iterable[OnWire]:
            if message is not None and message.kind != kind:
                yield message

        return step

    return make


def _second_consumer(consumers: float, dice: random.Random) -> Step:
    turn = dice.randrange(int(consumers))
    passed = 0

    def step(message: OnWire | None) -> Iterable[OnWire]:
        nonlocal passed
        if message is None:
            return
        ours = passed % int(consumers) == turn
        passed += 1
        if ours:
            yield message

    return step


_STEPS: dict[str, Callable[[float, random.Random], Step]] = {
    "drop-first": _drop_first,
    "drop-last": _drop_last,
    "drop": _drop,
    "truncate": truncate,
    "corrupt": corrupt,
    "corrupt-header": corrupt_header,
    "duplicate": _duplicate,
    "reorder": _reorder,
    "late-start": _late_start,
    "early-end": _early_end,
    "no-start": _without("start"),
    "no-end": _without("end"),
    "second-consumer": _second_consumer,
    "delay": _delay,
}
"""In the order in which they work on a message."""


def _again(message: OnWire) -> OnWire:
    return msgspec.structs.replace(message, repeat=True)
