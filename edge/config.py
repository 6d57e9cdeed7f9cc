"""`edge.toml`: what `edge serve` takes in, runs and sends out. Every setting is explained in edge/README.md."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from edge.conditioning.errors import ConditioningError
from edge.conditioning.selection import MAX_BINNING
from edge.conditioning.settings import ConditioningSettings
from edge.conditioning.settings import check as check_conditioning
from edge.models.registry import MODELS
from edge.positions.settings import Positions
from edge.positions.settings import check as check_positions
from streams import codecs
from streams.codecs import DECODERS, PROTOCOLS
from streams.ledger.shares import read_share
from streams.sockets import Pattern

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Positive = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Mebibytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Bits = Literal[8, 16, 32]
Pixels = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ConfigError(ValueError):
    """The configuration cannot be used; the text names file, setting and remedy."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where frames come from."""

    name: Name
    protocol: str
    address: str
    bind: bool = False
    socket: Pattern = "pull"
    memory_mib: Mebibytes = 256
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
    requests_in_flight: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    output_mib: Mebibytes = 128
    region: tuple[Pixels, ...] = ()
    binning: Annotated[int, msgspec.Meta(ge=1, le=MAX_BINNING)] = 1


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which Triton does the inference."""

    url: str = ""
    python: str = ""
    transport: Literal["auto", "shm", "inline"] = "auto"
    onnxruntime_threads: Annotated[int, msgspec.Meta(ge=1, le=256)] = 1
    log_dir: str = ""


class Results(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where results leave."""

    publish: str = "tcp://127.0.0.1:5600"
    handshake: str = "tcp://127.0.0.1:5601"
    replay_mib: Mebibytes = 64
    folder: str = ""
    raw_frames: str = ""


class Recording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where raw messages are kept as they came, to go on after a crash and to be replayed."""

    folder: str = ""
    quota_gib: Annotated[float, msgspec.Meta(gt=0, le=1 << 20)] = 16.0


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Prometheus scrapes."""

    address: str = "127.0.0.1:9100"


class SeriesTimes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a series waits for what may still come."""

    grace_s: Positive = 2.0
    idle_s: Positive = 300.0
    drain_s: Positive = 10.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of `edge.toml`."""

    source: tuple[Source, ...]
    route: tuple[RouteConfig, ...]
    server: Server = Server()
    results: Results = Results()
    recording: Recording = Recording()
    metrics: Metrics = Metrics()
    series: SeriesTimes = SeriesTimes()


def load(path: Path) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    try:
        return parse(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name the configuration with -c FILE") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text file: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def parse(plain: dict[str, Any]) -> Config:
    """Check the plain content of a configuration.

    Raises:
        ConfigError: something in it is wrong.
    """
    try:
        config = msgspec.convert(plain, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{error}; edge/README.md lists the settings") from error
    _check_names("source", [source.name for source in config.source])
    _check_names("route", [route.name for route in config.route])
    for source in config.source:
        check_address(source.address, f"source {source.name!r}: address")
        if source.protocol not in DECODERS:
            raise ConfigError(
                f"source {source.name!r}: no protocol {source.protocol!r}; there are {', '.join(DECODERS)}"
            )
        if source.socket == "req" and not PROTOCOLS[source.protocol].trains:
            raise ConfigError(f"source {source.name!r}: {source.protocol} does not answer; socket may be pull or sub")
        try:
            codecs.decoder(source.protocol, source.name, source.options)
        except codecs.OptionError as error:
            raise ConfigError(f"source {source.name!r}: options: {error}") from error
        try:
            read_share(source.share)
        except ValueError as error:
            raise ConfigError(f"source {source.name!r}: share: {error}") from error
        _check_positions(source)
        _check_conditioning(source)
        check_url(source.detector_url, f"source {source.name!r}: detector_url")
        if not source.bind and "*" in source.address:
            raise ConfigError(f"source {source.name!r}: cannot connect to {source.address!r}; name host and port")
    addresses = [source.address for source in config.source]
    if len(set(addresses)) < len(addresses):
        raise ConfigError("two sources have the same address; each would get every other frame only")
    for route in config.route:
        _check_route(route, config)
    check_address(config.results.publish, "results.publish")
    check_address(config.results.handshake, "results.handshake")
    host_and_port(config.metrics.address, "metrics.address")
    if config.server.url:
        host_and_port(config.server.url, "server.url")
    return config


def _check_names(what: str, names: list[str]) -> None:
    if not names:
        raise ConfigError(f"no [[{what}]]; at least one is needed")
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two [[{what}]] are called {name!r}; give each a name of its own")


def _check_positions(source: Source) -> None:
    if source.positions is None:
        return
    where = f"source {source.name!r}: positions"
    try:
        check_positions(source.positions, source.protocol)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    if source.positions.from_ == "stream":
        check_address(source.positions.address, f"{where}: address")


def _check_conditioning(source: Source) -> None:
    if source.conditioning is None:
        return
    try:
        check_conditioning(source.conditioning)
    except ConditioningError as error:
        raise ConfigError(f"source {source.name!r}: conditioning: {error}") from error


def _check_route(route: RouteConfig, config: Config) -> None:
    if route.model not in MODELS:
        raise ConfigError(f"route {route.name!r}: no model {route.model!r}; there are {', '.join(sorted(MODELS))}")
    unknown = set(route.sources) - {source.name for source in config.source}
    if unknown:
        raise ConfigError(f"route {route.name!r}: no [[source]] is called {sorted(unknown)[0]!r}")
    if not route.pixel_bits:
        raise ConfigError(f"route {route.name!r}: pixel_bits is empty; the default is [16, 32]")
    if route.region and (len(route.region) != 4 or 0 in route.region[2:]):
        raise ConfigError(
            f"route {route.name!r}: region is {list(route.region)}; write [row, column, height, width] in pixels"
        )


def check_address(address: str, setting: str) -> None:
    """Refuse what is no ZeroMQ TCP address.

    Raises:
        ConfigError: naming `setting`.
    """
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        raise ConfigError(f"{setting}: {address!r} is no address; write tcp://HOST:PORT")
    host, _, port = rest.rpartition(":")
    if not host or not (port == "*" or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ConfigError(f"{setting}: {address!r} has no valid port; write tcp://HOST:PORT with a port up to 65535")


def check_url(url: str, setting: str) -> None:
    """Refuse what is neither empty nor http://HOST or http://HOST:PORT.

    Raises:
        ConfigError: naming `setting`.
    """
    scheme, _, rest = url.partition("://")
    try:
        split = urlsplit(f"//{rest.rstrip('/')}")
        good = scheme == "http" and split.hostname and split.port != 0 and not (split.path or split.username)
    except ValueError:
        good = False
    if url and not good:
        raise ConfigError(f"{setting}: {url!r} is no address of a detector; write http://HOST or http://HOST:PORT")


def host_and_port(address: str, setting: str) -> tuple[str, int]:
    """Split HOST:PORT.

    Raises:
        ConfigError: naming `setting`.
    """
    try:
        parts = urlsplit(f"//{address}")
        port = parts.port
    except ValueError:
        port = None
        parts = None
    if parts is None or not parts.hostname or port is None:
        raise ConfigError(f"{setting}: {address!r} is not HOST:PORT")
    return parts.hostname, port
