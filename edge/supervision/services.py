"""Which services a configuration needs. A service more is an entry more in `ENTRIES`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from edge.config import Config
from edge.supervision.machine import Service

WRITTEN_S = 30.0
"""How long the data plane may take, when nothing is in flight any more, to bring all to the disk and to subscribers."""


@dataclass(frozen=True)
class Wanted:
    """What `edge up` was asked for, as far as its services have to know."""

    config: Config
    path: Path
    """The configuration file, absolute."""
    folder: Path
    """The run folder."""
    day: date
    """What folders are named after: one that is restarted after midnight goes on in the same ones."""
    proposal: str = ""
    models: Path | None = None
    """The models that serve, where not all are shipped ones."""

    @property
    def announced(self) -> Path:
        """Where `edge triton` writes how to reach its server."""
        return self.folder / "triton.json"

    @property
    def choosing(self) -> tuple[str, ...]:
        """Options of those that serve models."""
        return ("--models", str(self.models)) if self.models is not None else ()

    @property
    def placing(self) -> tuple[str, ...]:
        """Options of those that write data."""
        proposal = ("--proposal", self.proposal) if self.proposal else ()
        return ("--date", self.day.isoformat(), *proposal)


@dataclass(frozen=True)
class Entry:
    """One service: its command, when it is needed, its options, and its times in seconds."""

    name: str
    command: tuple[str, ...]
    needed: Callable[[Config], bool]
    options: Callable[[Wanted], tuple[str, ...]]
    needs: tuple[str, ...] = ()
    """Services that must be ready before, where they are among those that run."""
    start_s: float = 120.0
    patience_s: Callable[[Config], float] = lambda config: 10.0


def _own_server(config: Config) -> bool:
    return not config.server.url


def _serve_options(wanted: Wanted) -> tuple[str, ...]:
    server = ("--triton-file", str(wanted.announced)) if _own_server(wanted.config) else ()
    recover = ("--recover",) if wanted.config.recording.folder else ()
    return (*server, *recover, *wanted.choosing, *wanted.placing)


ENTRIES = (
    Entry(
        "triton",
        ("triton",),
        _own_server,
        lambda wanted: ("--file", str(wanted.announced), *wanted.choosing),
        start_s=600.0,  # engines may have to be built
        patience_s=lambda config: 20.0,
    ),
    Entry(
        "serve",
        ("serve",),
        lambda config: True,
        _serve_options,
        needs=("triton",),
        patience_s=lambda config: config.series.drain_s + WRITTEN_S,
    ),
    Entry(
        "agent",
        ("agent", "serve"),
        lambda config: bool(config.agent.listen),
        lambda wanted: wanted.placing,
        start_s=60.0,
    ),
)


def services(wanted: Wanted) -> tuple[Service, ...]:
    """What runs, those that are needed first."""
    entries = [entry for entry in ENTRIES if entry.needed(wanted.config)]
    present = {entry.name for entry in entries}
    return tuple(
        Service(
            name=entry.name,
            argv=(*_PROGRAM, *arguments(entry, wanted)),
            needs=tuple(name for name in entry.needs if name in present),
            start_s=entry.start_s,
            patience_s=entry.patience_s(wanted.config),
        )
        for entry in entries
    )


# -P: a `signal.py` in the working directory is not the standard library's.
_PROGRAM = (sys.executable, "-P", "-m", "edge")


def arguments(entry: Entry, wanted: Wanted) -> tuple[str, ...]:
    """The command line of a service behind `edge`."""
    return (*entry.command, "-c", str(wanted.path), *entry.options(wanted), "--json", "--stop-at-eof")
