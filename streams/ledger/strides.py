"""Regular holes in the ids of a series: the trace of a second program on the detector's port.

A PUSH socket deals its messages to all that pull from it in turn. So with N consumers each gets every Nth message,
and to each of them N - 1 of every N images (or trains) are missing, at a constant stride. Random loss leaves no
stride; how long a regular stretch must be before it is called one follows from how often chance would make it.
"""

import math
from collections.abc import Sequence

import msgspec

from streams.ledger.intervals import blocks

LEAST_GAPS = 8
"""Regular gaps that are called a stride; fewer are called chance."""

FALSE_ALARM = 1e-4
"""How often, at most, independent losses at the worst possible rate may be taken for a stride."""


class Suspicion(msgspec.Struct, frozen=True):
    """Of every `stride` images `missing` in a row did not come, from `phase` (an image id modulo `stride`) on."""

    stride: int
    phase: int
    missing: int
    text: str


def regular_holes(holes: Sequence[tuple[int, int]]) -> Suspicion | None:
    """What the `holes` of one channel ([start, stop), in order) have in common; None where it may be chance.

    The longest stretch of holes of one length at one stride decides. With independent losses a given stretch of K
    holes of L in S ids has a chance of at most exp(-K S h(L / S)), h being the entropy of a loss in nats (its value
    at the rate L / S, where it is likeliest); there are fewer than S^2 patterns of it, and as many places as there
    are holes outside it.
    """
    start, length, stride, gaps = max(blocks(holes), key=lambda block: block[3], default=(0, 0, 0, 0))
    if gaps < LEAST_GAPS or gaps * _surprise(stride, length) < math.log(
        (len(holes) - gaps + 1) * stride**2 / FALSE_ALARM
    ):
        return None
    return Suspicion(stride, start % stride, length, _told(stride, length))


def _surprise(stride: int, length: int) -> float:
    """S h(L / S): by how much one more regular hole makes chance less likely, in nats."""
    rate = length / stride
    return -stride * (rate * math.log(rate) + (1 - rate) * math.log(1 - rate))


def _told(stride: int, length: int) -> str:
    if length == 1 and stride == 2:
        what = "every 2nd image is missing"
    elif length == 1:
        what = f"one of every {stride} images is missing"
    else:
        what = f"{length} of every {stride} images are missing, in a row"
    return f"{what}: a second consumer on the detector's port?"
