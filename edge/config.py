"""`edge.toml`: what `edge serve` takes in, runs and sends out. Every setting is explained in edge/README.md."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from edge.models.registry import MODELS
from streams.codecs import DECODERS
from streams.sockets import Pattern

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Positive = Annotated[float, msgspec.Meta(gt=0, le=86400)]
Mebibytes = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Bits = Literal[8, 16, 32]


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


class RouteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which frames go to which model."""

    name: Name
    model: str
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    pixel_bits: tuple[Bits, ...] = (16, 32)
    requests_in_flight: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2
    output_mib: Mebibytes = 128


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


def _check_route(route: RouteConfig, config: Config) -> None:
    if route.model not in MODELS:
        raise ConfigError(f"route {route.name!r}: no model {route.model!r}; there are {', '.join(sorted(MODELS))}")
    unknown = set(route.sources) - {source.name for source in config.source}
    if unknown:
        raise ConfigError(f"route {route.name!r}: no [[source]] is called {sorted(unknown)[0]!r}")
    if not route.pixel_bits:
        raise ConfigError(f"route {route.name!r}: pixel_bits is empty; the default is [16, 32]")


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
