"""One row of the table on a running system: it is struck, and watched until it is well again."""

import random
import time
from dataclasses import dataclass

from edge.bench.chaos.rig import POLL_S, Rig
from edge.bench.chaos.table import Row

PATIENCE_S = 60.0
"""After this it has not recovered by itself."""

CALM_S = 20.0
"""How long the results of what was sent before may take to come in."""

LEAST_IMAGES = 40
"""Of a series before it is struck: its account then always exists."""


@dataclass(frozen=True)
class Struck:
    """What came of it."""

    row: str
    at_s: float  # monotonic
    lasted_s: float
    recovery_s: float | None  # None: it did not recover by itself
    series: int  # the one that was struck
    reason: str = ""  # what was awaited last


def possible(rig: Rig, row: Row) -> str:
    """Why the row cannot be tried on this system; empty where it can."""
    if "mounts" in row.needs and rig.mounts is None:
        return rig.no_mounts
    if "agent" in row.needs and rig.agent is None:
        return "there is no agent"
    return ""


def strike(rig: Rig, row: Row, dice: random.Random, patience_s: float = PATIENCE_S) -> Struck:
    """Do it, leave it, and wait for the recovery.

    Raises:
        NotThere: what was to be hurt does not run.
    """
    series = _running_series(rig)
    rig.detector.under(row.name)
    lasts_s = dice.uniform(*row.lasts_s)
    began = time.monotonic()
    with row.fault(rig) as dealt:
        if lasts_s:
            time.sleep(lasts_s)
    since = time.monotonic() if lasts_s else began
    waiting_for = "what was hurt to be replaced"
    deadline, moment, last = since + patience_s, 0.0, ""
    while time.monotonic() < deadline and rig.alive:
        if not moment and dealt():
            moment = time.monotonic()
        if moment:
            waiting_for = _absent(rig, row, moment)
            if not waiting_for:
                recovery_s = time.monotonic() - since
                rig.detector.under("")
                return Struck(row.name, began, lasts_s, recovery_s, series, last)
            last = waiting_for
        time.sleep(POLL_S)
    reason = f"waited for {waiting_for}" if rig.alive else "edge up has ended"
    return Struck(row.name, began, lasts_s, None, series, reason)


def _running_series(rig: Rig) -> int:
    """The number of a series that is well under way, with nothing of earlier ones behind it."""
    deadline = time.monotonic() + CALM_S
    while time.monotonic() < deadline:
        current = rig.detector.current
        if (
            current is not None
            and current.images >= LEAST_IMAGES
            and not current.row
            and rig.listener.seen_after(current.sent_s[0], rig.routes)
            and not rig.not_ready()
        ):
            return current.number
        time.sleep(POLL_S)
    return 0


def _absent(rig: Rig, row: Row, moment: float) -> str:
    """What is still awaited; empty where it is well again."""
    if not rig.listener.seen_after(moment, rig.routes):
        return "a result of an image sent afterwards"
    if row.sign == "second" and not rig.second_seen_after(moment):
        return "such a result at the second subscriber"
    if row.sign == "agent" and not (rig.agent is not None and rig.agent.answered_s > moment):
        return "an answer of the agent"
    return rig.not_ready()
