"""The tables of `edge.toml` as types: names, limits and defaults. Every setting is explained in edge/README.md."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge.conditioning.selection import MAX_BINNING
from edge.conditioning.settings import ConditioningSettings
from edge.positions.settings import Positions
from streams.routing import WhenFull
from streams.sockets import Pattern

# A name becomes the name of a folder: one of dots alone would lead out of where it is meant to be.
Name = Annotated[
    str,
    Meta(
        pattern=r"^(?!\.+\Z)[A-Za-z0-9_.-]{1,64}\Z",
        description="1 to 64 letters, digits, `_`, `-` or `.`, and not dots alone",
    ),
]
Proposal = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,63})?\Z",
        description="1 to 64 letters, digits, `_`, `-` or `.`, with a letter or digit first",
    ),
]
Positive = Annotated[float, Meta(gt=0, le=86400)]
Mebibytes = Annotated[int, Meta(ge=1, le=1 << 20)]
Bits = Literal[8, 16, 32]
Pixels = Annotated[int, Meta(ge=0, le=65535)]


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where frames come from."""

    name: Name
    protocol: str
    address: str
    bind: bool = False
    plain: bool = False
    socket: Pattern = "pull"
    memory_mib: Mebibytes = 256
    decompression_threads: Annotated[int, Meta(ge=0, le=64)] = 1
    options: dict[str, Any] = {}
    share: str = ""
    detector_url: str = ""
    positions: Positions | None = None
    conditioning: ConditioningSettings | None = None


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which frames go to which model."""

    name: Name
    model: str
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pixel_bits: tuple[Bits, ...] = (16, 32)
    when_full: WhenFull = "block"
    slots: Annotated[int, Meta(ge=0, le=1 << 20)] = 0
    requests_in_flight: Annotated[int, Meta(ge=1, le=64)] = 4
    output_mib: Mebibytes = 512
    region: tuple[Pixels, ...] = ()
    binning: Annotated[int, Meta(ge=1, le=MAX_BINNING)] = 1
    after: str = ""
    when: str = ""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which Triton does the inference."""

    url: str = ""
    python: str = ""
    transport: Literal["auto", "shm", "inline"] = "auto"
    onnxruntime_threads: Annotated[int, Meta(ge=1, le=256)] = 1
    log_dir: str = ""
    models: str = ""


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where results leave."""

    publish: str = "tcp://127.0.0.1:5600"
    handshake: str = "tcp://127.0.0.1:5601"
    required_subscribers: tuple[Name, ...] = ()
    replay_mib: Mebibytes = 64
    folder: str = ""
    raw_frames: str = ""


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where raw messages are kept as they came, to go on after a crash and to be replayed."""

    folder: str = ""
    quota_gib: Annotated[float, Meta(gt=0, le=1 << 20)] = 16.0


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Prometheus scrapes."""

    address: str = "127.0.0.1:9100"


class SeriesTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a series waits for what may still come."""

    grace_s: Positive = 2.0
    idle_s: Positive = 300.0
    drain_s: Positive = 10.0


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the adaptive-sampling agent listens; without an address there is none."""

    listen: str = ""
    folder: str = ""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which folder everything that is written lies in, and for whom it is."""

    root: str = ""
    proposal: Proposal = ""


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who we are, and who may talk to us from other machines."""

    keys: str = ""
    tls_certificate: str = ""
    tls_key: str = ""


class Up(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where `edge up` and what it runs meet."""

    folder: str = ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `edge.toml`."""

    source: tuple[Source, ...]
    route: tuple[RouteConfig, ...]
    server: Server = Server()
    results: Results = Results()
    recording: Recording = Recording()
    metrics: Metrics = Metrics()
    series: SeriesTimes = SeriesTimes()
    agent: Agent = Agent()
    data: Data = Data()
    security: Security = Security()
    up: Up = Up()
