"""`edge bench faults`: every fault, in every protocol, through the real code; the account is held against the truth.

A cell is declared in `edge.bench.faulttable`. Where a fault can be detected the account must equal what the simulator
did; where it cannot, the account must claim nothing: no image that came is missing, nothing is complete that is not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edge.bench.faultjudge import SHAPE, Judge, picture
from edge.bench.faultrun import Run
from edge.bench.faulttable import ORDERS, Declared, Kind, declared
from edge.bench.rows import Row
from streams.codecs import PROTOCOLS
from streams.messages import Acquisition
from streams.simulation.faults import Faults, read_fault
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Simulation
from streams.simulation.truth import truth_of

MESSAGES = 48
"""With images, of one series."""

SETTLED = 5
"""Messages after which results leave, in every second run; in the others after each."""


@dataclass(frozen=True)
class Mismatch:
    """An account that is not the truth."""

    protocol: str
    fault: str
    seed: int
    differs: str

    def __str__(self) -> str:
        return f"{self.protocol}, {self.fault}, seed {self.seed}: {self.differs}"


@dataclass(frozen=True)
class Cell:
    """One fault of one protocol, over all seeds."""

    protocol: str
    fault: str
    declared: Declared
    runs: int
    mismatches: tuple[Mismatch, ...]


Running = Callable[[str, dict[str, bool], int | None], Run]
"""A fresh receiver for a protocol, its options, and the number of images that the controller tells, if it does."""


def cells(protocols: Sequence[str], faults: Sequence[str], seeds: int, running: Running = Run) -> Iterator[Cell]:
    """Run everything; a cell as soon as it is done."""
    for protocol in protocols:
        for fault in faults:
            expected = declared(protocol, fault)
            if expected.kind is Kind.ABSENT:
                yield Cell(protocol, fault, expected, 0, ())
                continue
            found = [
                Mismatch(protocol, fault, seed, problem)
                for seed in range(seeds)
                for problem in one(protocol, fault, seed, expected, running)
            ]
            yield Cell(protocol, fault, expected, seeds, tuple(found))


def one(protocol: str, fault: str, seed: int, expected: Declared, running: Running = Run) -> list[str]:
    """What differs between account and truth in one run."""
    simulation, messages = ordered(protocol, fault, seed)
    acquisition = simulation.acquisition
    told = acquisition.images if expected.kind is Kind.WITH_COUNT else None
    outcome = running(protocol, dict(expected.options), told).feed(messages, (1, SETTLED)[seed % 2])
    judge = Judge(simulation, expected, fault, told is not None)
    return [*dict.fromkeys([*outcome.broken[:3], *judge.differences(truth_of(messages), outcome, messages)])]


def ordered(protocol: str, fault: str, seed: int) -> tuple[Simulation, list[OnWire]]:
    """A series with the fault. Channels, trains and consumers vary with the seed."""
    traits = PROTOCOLS[protocol]
    together = (1, 4)[seed % 2] if traits.trains else 1
    channels = ("a", "bb") if traits.channels and seed % 3 == 1 else ("image",)
    acquisition = Acquisition(
        7, "uid", "2026-01-02T03:04:05+00:00", MESSAGES * together, SHAPE, "uint16", channels,
        compression=traits.compressions[0], images_per_message=together,
    )  # fmt: skip
    texts = ORDERS[fault].split() if fault != "second-consumer" else [f"second-consumer={2 + seed % 2}"]
    draw = seed
    while True:
        faults = Faults(orders=tuple(map(read_fault, texts)), seed=draw)
        simulation = Simulation(
            protocol,
            acquisition,
            lambda image_id: {channel: picture(image_id, channel) for channel in channels},
            faults=faults,
        )
        messages = list(simulation.messages())
        lossy = fault in ("drop", "truncate", "together") and not traits.start
        if not lossy or _edges_whole(messages, acquisition.images - together):
            return simulation, messages
        draw += 1000


def _edges_whole(messages: Iterable[OnWire], last: int) -> bool:
    """Whether the first and the last image came as they were: drop-first and drop-last are faults of their own."""
    return {0, last} <= {message.image_id for message in messages if not message.damage}


def rows(found: Sequence[Cell]) -> list[Row]:
    """The numbers that are kept."""
    run = [cell for cell in found if cell.runs]
    wrong = [mismatch for cell in found for mismatch in cell.mismatches]
    listed = [str(mismatch) for mismatch in wrong[:100]]
    each = [
        Row(
            f"{cell.protocol}/{cell.fault}",
            len(cell.mismatches),
            "1",
            detail={"declared": str(cell.declared.kind), "reason": cell.declared.reason, "runs": cell.runs},
        )
        for cell in found
    ]
    return [
        Row(
            "cells",
            len(run),
            "1",
            detail=f"{sum(cell.runs for cell in run)} runs; {len(found) - len(run)} cells cannot be",
        ),
        Row("mismatches", len(wrong), "1", detail=listed),
        *each,
    ]
