"""The series of a soak: clean ones, and in between such as cannot be inferred whole. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np

from edge.bench.sizing.feeding import Order
from edge.bench.sizing.wire import Case

DAMAGED = 7
"""Of a series with damaged messages, each n-th is."""

FAULTY_IMAGES = 60
TOO_LARGE = Case("stream-v2", (4096, 2560), images=3)
"""20 MiB an image: more than the memory of the source (`soak.MEMORY_MIB`)."""


@dataclass(frozen=True)
class Mix:
    """`frames` images of `case` or some more, and with `faults` a faulty series after each, every kind in turn."""

    case: Case
    frames: int
    faults: bool = False

    def __iter__(self) -> Iterator[Order]:
        clean = -(-self.frames // self.case.images)
        for number in range(1, (2 if self.faults else 1) * clean + 1):
            yield order_of(self.case, number, self.faults)


def order_of(case: Case, number: int, faults: bool) -> Order:
    """Series `number` of a mix; with `faults` every other one is faulty."""
    return faulty(case, number, number // 2) if faults and number % 2 == 0 else Order(case, number)


def case_of(order: Order, image_id: int) -> Case:
    """What an image of a series was made as."""
    changed = order.then is not None and image_id >= order.case.images // 2
    return order.then if changed and order.then is not None else order.case


def faulty(case: Case, number: int, kind: int) -> Order:
    """Series `number`, faulty in the `kind`-th way: images too large for the memory, another shape or pixel type from
    the middle on, a type that the route does not serve, messages that are cut short."""
    few = msgspec.structs.replace(case, images=FAULTY_IMAGES)
    height, width = case.shape
    other = "uint16" if np.dtype(case.dtype).itemsize == 1 else "uint8"
    ways = (
        Order(TOO_LARGE, number),
        Order(few, number, then=msgspec.structs.replace(few, shape=(height // 2, width + 24))),
        Order(few, number, then=msgspec.structs.replace(few, dtype=other)),
        Order(few, number, then=msgspec.structs.replace(few, dtype="uint32")),
        Order(few, number, damaged=DAMAGED),
    )
    return ways[kind % len(ways)]
