"""The failure table: what may fail, what is kept, what is lost, and how one knows that all is well again.

The page prints these rows (`markdown`), the system tests go through them, and `edge bench chaos` draws from them.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge.bench.chaos import faults
from edge.bench.chaos.faults import Fault

Sign = Literal["results", "second", "agent"]
"""What has to come back besides results of images that were sent after the fault."""

FETCHED = "missing: what ZeroMQ had fetched and nobody had recorded"
UNDER_WAY = "missing: what was under way on the connection"
NOTHING = "nothing"


@dataclass(frozen=True)
class Row:
    """One way to fail."""

    name: str
    done: str  # what is done to the system
    kept: str
    lost: str
    fault: Fault
    losses: frozenset[str] = frozenset()  # reasons that the account of a series may name
    lasts_s: tuple[float, float] = (0.0, 0.0)  # least and most
    sign: Sign = "results"
    needs: frozenset[str] = frozenset()  # "mounts": file systems of its own; "agent": the agent's service

    def recovered(self) -> str:
        """In words."""
        since = "its end" if self.lasts_s[1] else "the fault"
        first = {"results": "", "second": "the subscriber hands out ", "agent": "the agent answers, and there is "}
        return f"{first[self.sign]}a result of an image sent after {since}"


ALL_KEPT = "every image; frames wait in their slots, then at the detector"
ROWS: Sequence[Row] = (
    Row(
        "triton killed",
        "SIGKILL to `tritonserver`",
        ALL_KEPT,
        NOTHING,
        faults.signalled("tritonserver", signal.SIGKILL),
    ),
    Row(
        "triton hung", "SIGSTOP to `tritonserver`", ALL_KEPT, NOTHING, faults.signalled("tritonserver", signal.SIGSTOP)
    ),
    Row(
        "triton draining",
        "SIGTERM to `tritonserver`",
        ALL_KEPT,
        NOTHING,
        faults.signalled("tritonserver", signal.SIGTERM),
    ),
    Row(
        "triton out of memory",
        "no more memory for a model's process (RLIMIT_AS)",
        ALL_KEPT,
        NOTHING,
        faults.memory_limited,
        lasts_s=(1.0, 3.0),
    ),
    Row("model unloaded", "somebody with the token unloads all models", ALL_KEPT, NOTHING, faults.unloaded),
    Row("model broken", "the files of all models are garbage, and they are unloaded", ALL_KEPT, NOTHING, faults.broken),
    Row("model killed", "SIGKILL to a model's process", ALL_KEPT, NOTHING, faults.signalled("model", signal.SIGKILL)),
    Row(
        "edge triton killed", "SIGKILL to `edge triton`", ALL_KEPT, NOTHING, faults.signalled("triton", signal.SIGKILL)
    ),
    Row(
        "edge serve killed",
        "SIGKILL to `edge serve`",
        "every image that was recorded, and each result once",
        FETCHED,
        faults.signalled("serve", signal.SIGKILL),
        losses=frozenset({"missing"}),
    ),
    Row(
        "agent killed",
        "SIGKILL to `edge agent serve`",
        "every image; every observation that was taken, the experiment goes on where it was",
        NOTHING,
        faults.signalled("agent", signal.SIGKILL),
        sign="agent",
        needs=frozenset({"agent"}),
    ),
    Row(
        "subscriber slow",
        "SIGSTOP to a subscriber, then SIGCONT",
        "every result: it asks for what it missed; nobody else notices",
        "nothing within `results.replay_mib`; beyond, its `lost` counts",
        faults.subscriber_stopped,
        lasts_s=(2.0, 5.0),
        sign="second",
    ),
    Row(
        "subscriber gone",
        "SIGKILL to a subscriber; another one comes",
        "every result in the files; nobody else notices",
        "nothing but what it did not hear",
        faults.subscriber_killed,
        lasts_s=(0.5, 2.0),
        sign="second",
    ),
    Row(
        "disk full",
        "no room where results and captures go, and then room again",
        "every result on the wire, and in the files as far as the disk took them",
        "unlogged: not in the file, which says so; what is not recorded is not recovered should `edge serve` die then",
        faults.disk_full,
        losses=frozenset({"unlogged"}),
        lasts_s=(0.5, 1.5),
        needs=frozenset({"mounts"}),
    ),
    Row(
        "shared memory exhausted",
        "`/dev/shm` full and `edge serve` killed; room again later",
        "as with `edge serve` killed; until there is room it says what it needs, and is started again and again",
        FETCHED,
        faults.memory_shared_out,
        losses=frozenset({"missing"}),
        lasts_s=(2.0, 4.0),
        needs=frozenset({"mounts"}),
    ),
    Row(
        "clock stepped forward",
        "the wall clock is an hour ahead, then right again",
        "everything; times in results are the clock's",
        NOTHING,
        lambda rig: faults.clock_stepped(rig, 3600.0),
        lasts_s=(2.0, 4.0),
    ),
    Row(
        "clock stepped back",
        "the wall clock is an hour behind, then right again",
        "everything; times in results are the clock's",
        NOTHING,
        lambda rig: faults.clock_stepped(rig, -3600.0),
        lasts_s=(2.0, 4.0),
    ),
    Row(
        "detector's network cut",
        "the detector's connection is reset",
        "every image that arrived",
        UNDER_WAY,
        faults.frames_cut,
        losses=frozenset({"missing"}),
    ),
    Row(
        "detector's network silent",
        "nothing passes from the detector, then all does again",
        "every image; the detector waits",
        NOTHING,
        faults.frames_silent,
        losses=frozenset({"missing"}),
        lasts_s=(1.0, 4.0),
    ),
    Row(
        "subscribers' network cut",
        "their connections are reset",
        "every result: they ask for what they missed",
        NOTHING,
        faults.results_cut,
        sign="second",
    ),
    Row(
        "subscribers' network silent",
        "nothing passes to subscribers, then all does again",
        "every result: they ask for what they missed",
        NOTHING,
        faults.results_silent,
        lasts_s=(1.0, 4.0),
        sign="second",
    ),
    Row(
        "detector aborted",
        "the detector ends its series early, without a word of its controller, and is armed again",
        "every image that was sent",
        "nothing; the account says `incomplete`: more images were announced",
        faults.series_ended("abort"),
    ),
    Row(
        "detector armed anew",
        "the detector ends nothing and begins its next series",
        "every image that was sent",
        "nothing; the account says `incomplete`: more images were announced",
        faults.series_ended("restart"),
    ),
)


def row(name: str) -> Row:
    """By its name."""
    return next(one for one in ROWS if one.name == name)


def markdown() -> str:
    """The table as the page has it."""
    heads = ("failure", "what is done", "kept", "lost", "recovered when there is")
    lines = ["| " + " | ".join(heads) + " |", "| --- " * len(heads) + "|"]
    lines += [f"| {one.name} | {one.done} | {one.kept} | {one.lost} | {one.recovered()} |" for one in ROWS]
    return "\n".join(lines)
