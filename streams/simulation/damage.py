"""Messages that arrive damaged: cut short, or with bytes changed."""

import random
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import msgspec

from streams.messages import Part
from streams.simulation.onwire import OnWire, Place, is_image

FLIPS = 8
"""Bytes of one message that are changed, at most."""

Step: TypeAlias = Callable[[OnWire | None], Iterable[OnWire]]
"""One fault: what leaves when a message comes; None: nothing more will come."""


def truncate(rate: float, dice: random.Random) -> Step:
    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is None:
            return
        if not is_image(message) or dice.random() >= rate:
            yield message
            return
        how = dice.randrange(3) if len(message.parts) > 1 else 0
        if how == 2:
            kept = message.parts[: dice.randrange(1, len(message.parts))]
            yield msgspec.structs.replace(message, parts=kept, damage="truncated")
        else:
            part = largest(message.parts) if how == 0 else dice.randrange(len(message.parts))
            yield cut(message, part, dice.random())

    return step


def corrupt(rate: float, dice: random.Random) -> Step:
    def places(message: OnWire) -> list[Place]:
        part = largest(message.parts)
        return list(message.pixels) or [(part, 0, len(message.parts[part]))]

    return _flipping(rate, dice, places, "pixels")


def corrupt_header(rate: float, dice: random.Random) -> Step:
    def places(message: OnWire) -> list[Place]:
        found: list[Place] = []
        for part, content in enumerate(message.parts):
            at = 0
            for _, start, stop in sorted(place for place in message.pixels if place[0] == part):
                found.append((part, at, start))
                at = stop
            found.append((part, at, len(content)))
        return [place for place in found if place[2] > place[1]]

    return _flipping(rate, dice, places, "header")


def _flipping(
    rate: float, dice: random.Random, places: Callable[[OnWire], list[Place]], damage: Literal["pixels", "header"]
) -> Step:
    def step(message: OnWire | None) -> Iterable[OnWire]:
        if message is None:
            return
        if not is_image(message) or dice.random() >= rate:
            yield message
            return
        parts = list(message.parts)
        part, start, stop = dice.choice(places(message))
        changed = bytearray(parts[part])
        for at in dice.sample(range(start, stop), min(stop - start, dice.randrange(FLIPS) + 1)):
            changed[at] ^= dice.randrange(1, 256)
        parts[part] = bytes(changed)
        yield msgspec.structs.replace(message, parts=parts, damage=damage)

    return step


def largest(parts: list[Part]) -> int:
    return max(range(len(parts)), key=lambda index: len(parts[index]))


def cut(message: OnWire, part: int, keep: float) -> OnWire:
    """Its `part` shortened by at least one byte."""
    parts = list(message.parts)
    parts[part] = parts[part][: min(int(len(parts[part]) * keep), max(len(parts[part]) - 1, 0))]
    return msgspec.structs.replace(message, parts=parts, damage="truncated")
