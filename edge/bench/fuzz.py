"""Hostile inputs for everything that reads bytes of strangers: `edge bench fuzz`.

Inputs are dealt in batches to child processes. A child that dies or stands still is the finding: which input it had at
hand is in shared memory, and another child goes on behind it.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from edge.bench.fuzz_child import Done, Finding, Work, fed, resolve
from edge.bench.fuzz_children import BATCH, Children, How
from edge.bench.fuzz_documents import hypothesis_values
from edge.bench.fuzz_inputs import Corpus, corpus, inputs
from edge.bench.rows import Row

TARGETS = "edge.bench.fuzz_targets:targets"
MOST_FINDINGS = 200
"""Of a reader, and then it has been shown to be broken."""


@dataclass(frozen=True)
class Options:
    """What is tried, and for how long an input may take."""

    names: Sequence[str]
    inputs: int  # of each target
    seed: int = 0
    processes: int = 1
    hang_s: float = 2.0  # processor time; after ten times that on the clock it is stopped
    targets: str = TARGETS


@dataclass
class Outcome:
    """What became of the inputs of one target."""

    inputs: int = 0
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest_s: float = 0.0
    most_bytes: int = 0
    seconds: float = 0.0

    def count(self, kind: str) -> int:
        return sum(finding.kind == kind for finding in self.findings)

    def broken(self, finding: Finding) -> None:
        """An input ended or stopped the process that took it in."""
        self.inputs += 1
        self.findings.append(finding)

    def add(self, done: Done) -> None:
        self.inputs += done.work.last - done.work.first
        self.taken += done.taken
        self.refused.update(done.refused)
        self.findings += done.findings
        self.slowest_s = max(self.slowest_s, done.slowest_s)
        self.most_bytes = max(self.most_bytes, done.most_bytes)


def names(targets: str = TARGETS) -> list[str]:
    """All readers that can be tried."""
    return list(resolve(targets))


def run(options: Options, progress: Callable[[str, int], None] = lambda name, inputs: None) -> dict[str, Outcome]:
    """Try one target after the other; `progress` is told its name and the inputs it has been given."""
    values = hypothesis_values(options.seed)
    with Children(How(options.targets, options.seed, values, options.processes, options.hang_s)) as children:
        return {name: _try(name, options, children, progress) for name in options.names}


def _try(name: str, options: Options, children: Children, progress: Callable[[str, int], None]) -> Outcome:
    outcome, began = Outcome(), time.monotonic()
    ready = _work(name, options.inputs)
    again: list[Work] = []

    def take() -> Work | None:
        if len(outcome.findings) >= MOST_FINDINGS:
            return None
        return again.pop() if again else next(ready, None)

    while children.give(take):
        for result in children.results():
            if isinstance(result, Done):
                outcome.add(result)
            else:
                outcome.broken(result[1])
                again += _around(*result)
        progress(name, outcome.inputs)
    outcome.seconds = time.monotonic() - began
    return outcome


def _around(work: Work, finding: Finding) -> list[Work]:
    """What is left of work that an input broke off: what went well before it is not known any more."""
    halves = (work._replace(last=finding.number), work._replace(first=finding.number + 1))
    return [half for half in halves if half.first < half.last]


def _work(name: str, count: int) -> Iterator[Work]:
    for batch, first in enumerate(range(0, count, BATCH)):
        yield Work(name, batch, 0, min(BATCH, count - first))


def save(finding: Finding, options: Options, folder: Path) -> Path:
    """Write an input and all that its reader had seen before, so that it can be repeated; the file's name."""
    made_of = _made_of(finding.target, options.targets, options.seed)
    messages = inputs(options.seed, finding.target, finding.batch, made_of, BATCH)[finding.first : finding.number + 1]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.target}-{finding.kind}-{options.seed}-{finding.batch}-{finding.number}.json"
    kept = finding._asdict() | {"seed": options.seed, "messages": [[part.hex() for part in one] for one in messages]}
    path.write_text(json.dumps(kept) + "\n")
    return path


def repeat(path: Path, targets: str = TARGETS) -> str:
    """Feed what was saved to a reader in this process, and say what became of the last input.

    Raises:
        ValueError: the file is none that `save` wrote.
    """
    try:
        kept = json.loads(path.read_text())
        target = resolve(targets)[kept["target"]]
        messages = [[bytes.fromhex(part) for part in one] for one in kept["messages"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no input of the fuzzer: {error!r}") from error
    feed = target.fresh()
    for message in messages[:-1]:
        fed(feed, message, target.allowed)
    reason, _, problem = fed(feed, messages[-1], target.allowed)
    return ": ".join(problem) if problem else f"refused: {reason}" if reason else "taken"


@cache
def _made_of(name: str, targets: str, seed: int) -> Corpus:
    target = resolve(targets)[name]
    return corpus(target.messages(), target.format, hypothesis_values(seed))


def distinct(findings: Sequence[Finding]) -> list[tuple[Finding, int]]:
    """The first finding of each text, and how many there are of it."""
    counts = Counter((one.kind, _pattern(one.text)) for one in findings)
    first = {(one.kind, _pattern(one.text)): one for one in reversed(findings)}
    return [(first[key], count) for key, count in counts.items()]


def _pattern(text: str) -> str:
    return re.sub(r"\b\d+ bytes", "bytes", text)


def rows(outcomes: dict[str, Outcome]) -> list[Row]:
    """All targets together, and each."""
    everything = list(outcomes.values())
    found: list[Row] = [Row("inputs", sum(one.inputs for one in everything), "1")]
    for kind in KINDS:
        found.append(Row(KINDS[kind], sum(one.count(kind) for one in everything), "1"))
    for name, one in outcomes.items():
        detail = {"accepted": one.taken, "refused": dict(one.refused)}
        found.append(Row(f"{name}/inputs", one.inputs, "1", detail=detail))
        found += [Row(f"{name}/{KINDS[kind]}", one.count(kind), "1", detail=_texts(one, kind)) for kind in KINDS]
        found.append(Row(f"{name}/rate", round(one.inputs / one.seconds, 1) if one.seconds else None, "1/s"))
        found.append(Row(f"{name}/slowest", round(1e3 * one.slowest_s, 3), "ms"))
        found.append(Row(f"{name}/largest_allocation", one.most_bytes, "B", detail="traced peak of one input"))
    return found


KINDS = {"crash": "crashes", "hang": "hangs", "over_allocation": "over_allocations"}


def _texts(outcome: Outcome, kind: str) -> list[str]:
    return [one.text for one in outcome.findings if one.kind == kind][:20]
