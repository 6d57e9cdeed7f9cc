"""What the supervisor is told, and what it tells."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge.inference.backoff import Backoff
from edge.inference.options import STOP_S, ServerOptions
from edge.inference.repository import SHIPPED
from edge.inference.requests import Submitter
from edge.inference.shared_memory import Namespace, Region
from edge.models.spec import ModelSpec

Transport = Literal["shm", "inline"]


@dataclass(frozen=True)
class Served:
    """A model to keep ready, in the variants for these item sizes (bytes a pixel)."""

    spec: ModelSpec
    itemsizes: tuple[int, ...] = (2,)

    def variants(self) -> list[str]:
        """Names of the Triton models."""
        return [self.spec.variant(itemsize) for itemsize in self.itemsizes]


@dataclass(frozen=True)
class ServerReady:
    """All models passed their canary. Requests go to `client`; spans may be used where `transport` is "shm"."""

    epoch: int
    client: Submitter
    transport: Transport


@dataclass(frozen=True)
class ServerLost:
    """The server of this epoch serves no more, and its client is closed.

    `gone`: its processes have ended, so nothing of it can touch shared memory any longer. False for a remote
    server, of which that cannot be known, and for one of `edge triton` that still runs.
    """

    epoch: int
    reason: str
    gone: bool


@dataclass(frozen=True)
class ServerChecked:
    """Asked again because requests failed, the models of this epoch passed their canary: those requests are at fault.

    Says nothing about requests that failed after `since_ns` (monotonic clock, when the canary was sent).
    """

    epoch: int
    since_ns: int


Event = ServerReady | ServerLost | ServerChecked


@dataclass(frozen=True)
class Timing:
    """All in seconds, but for `misses`."""

    connect_s: float = 30.0
    """How long a remote server may take to answer at first."""
    load_s: float = 120.0
    probe_every_s: float = 0.5
    probe_deadline_s: float = 1.2
    foreign_deadline_s: float = 5.0
    """The same at an address of somebody else: a server that did not answer has to pass the canaries again."""
    misses: int = 2
    """Probes in a row that must fail before a server counts as hung; after one that failed the next follows at once."""
    canary_every_s: float = 3.0
    """How often a server of ours is asked for its models' right answers."""
    canary_deadline_s: float = 6.0
    """A canary queues behind the batches in flight; one that takes longer means a model that hangs, unless its process
    is at work: then it has as long as a request, `client_timeout_s`."""
    stop_s: float = STOP_S
    client_timeout_s: float = 60.0
    backoff: Backoff = field(default_factory=Backoff)


@dataclass(frozen=True)
class Plan:
    """Which models to keep ready, on which server, with whose memory."""

    models: tuple[Served, ...]
    namespace: Namespace
    regions: tuple[Region, ...] = ()
    """Registered with every server anew; made by the caller with `namespace.region`."""
    url: str | None = None
    """`host:port` of a server that somebody else runs."""
    token: str | None = None
    """Opens the restricted calls of the server at `url` (header `triton-grpc-protocol-edge-token`)."""
    server: ServerOptions = field(default_factory=ServerOptions)
    transport: Literal["auto", "shm", "inline"] = "auto"
    """"auto" is shared memory where the server can map ours, else inline."""
    timing: Timing = field(default_factory=Timing)
    source: Path = SHIPPED
    """Where the models and their canaries are."""
    announced: Path | None = None
    """File in which `edge triton` of this host announces its server; without it and `url`, the server is embedded."""

    @property
    def owned(self) -> bool:
        """Whether the server is our child, ours to restart."""
        return self.url is None and self.announced is None
