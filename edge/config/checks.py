"""What types cannot say of a configuration: which settings go together, and what there is. Pure."""

import re
from collections.abc import Iterator

import msgspec

from edge.conditioning.errors import ConditioningError
from edge.conditioning.settings import check as check_conditioning
from edge.config.addresses import split_host, url_fault, zmq_fault
from edge.config.cascading import cascade_problems
from edge.config.outputs import template_problems
from edge.config.policy import exposures
from edge.config.problems import Problem, Steps
from edge.config.tables import Config, RouteConfig, Source
from edge.models.registry import MODELS
from edge.positions.settings import check as check_positions
from edge.results.errors import ResultFileError
from edge.results.names import check_raw_pattern
from streams import codecs
from streams.codecs import DECODERS, PROTOCOLS
from streams.ledger.shares import read_share


def problems(config: Config) -> Iterator[Problem]:
    """All that is wrong, in the order of the tables."""
    yield from _names("source", [source.name for source in config.source])
    yield from _names("route", [route.name for route in config.route])
    for at, source in enumerate(config.source):
        yield from _source(source, ("source", at))
    for at, route in enumerate(config.route):
        yield from _route(route, config, ("route", at))
    yield from cascade_problems(config.route)
    yield from _addresses(config)
    yield from _taken_twice(config)
    if config.results.raw_frames:
        try:
            check_raw_pattern(config.results.raw_frames)
        except ResultFileError as error:
            yield Problem(("results", "raw_frames"), str(error).removeprefix("results.raw_frames: "))
    yield from template_problems(config)
    yield from exposures(config)


def _names(what: str, names: list[str]) -> Iterator[Problem]:
    if not names:
        yield Problem((what,), f"no [[{what}]]; at least one is needed")
    for at, name in enumerate(names):
        if name in names[:at]:
            yield Problem((what, at, "name"), f"two [[{what}]] are called so; give each a name of its own")


def _source(source: Source, steps: Steps) -> Iterator[Problem]:
    if fault := zmq_fault(source.address):
        yield Problem((*steps, "address"), fault)
    elif not source.bind and "*" in source.address:
        yield Problem((*steps, "address"), "cannot be connected to; name host and port, or set bind = true")
    if source.protocol not in DECODERS:
        yield Problem((*steps, "protocol"), f"there is no such protocol; there are {', '.join(DECODERS)}")
        return
    if source.socket == "req" and not PROTOCOLS[source.protocol].trains:
        yield Problem((*steps, "socket"), f"{source.protocol} does not answer; socket may be pull or sub")
    try:
        codecs.decoder(source.protocol, source.name, source.options)
    except codecs.OptionError as error:
        yield Problem((*steps, "options"), str(error))
    try:
        read_share(source.share)
    except ValueError as error:
        yield Problem((*steps, "share"), str(error))
    if fault := url_fault(source.detector_url):
        yield Problem((*steps, "detector_url"), fault)
    yield from _positions(source, (*steps, "positions"))
    yield from _conditioning(source, (*steps, "conditioning"))


def _positions(source: Source, steps: Steps) -> Iterator[Problem]:
    settings = source.positions
    if settings is None:
        return
    try:
        check_positions(settings, source.protocol)
    except ValueError as error:
        yield _of(settings, steps, str(error))
    if settings.from_ == "stream" and settings.address and (fault := zmq_fault(settings.address)):
        yield Problem((*steps, "address"), fault)


def _conditioning(source: Source, steps: Steps) -> Iterator[Problem]:
    if source.conditioning is None:
        return
    try:
        check_conditioning(source.conditioning)
    except ConditioningError as error:
        yield _of(source.conditioning, steps, str(error))


def _of(table: msgspec.Struct, steps: Steps, text: str) -> Problem:
    """The problem at the setting that the text begins with, where it does."""
    first = re.match(r"\w+", text)
    if first is None or first[0] not in table.__struct_encode_fields__:
        return Problem(steps, text)
    return Problem((*steps, first[0]), text.removeprefix(f"{first[0]}: "))


def _route(route: RouteConfig, config: Config, steps: Steps) -> Iterator[Problem]:
    if route.model not in MODELS:
        yield Problem((*steps, "model"), f"there is no such model; there are {', '.join(sorted(MODELS))}")
    known = [source.name for source in config.source]
    for at, name in enumerate(route.sources):
        if name not in known:
            yield Problem((*steps, "sources", at), f"no [[source]] is called so; there are {', '.join(known)}")
    if route.slots and route.when_full == "block":
        text = 'is for routes that drop images; set when_full to "drop_oldest", or leave it out'
        yield Problem((*steps, "slots"), text)
    if not route.pixel_bits:
        yield Problem((*steps, "pixel_bits"), "is empty; the default is [16, 32]")
    if route.region and (len(route.region) != 4 or 0 in route.region[2:]):
        yield Problem((*steps, "region"), "is no region; write [row, column, height, width] in pixels")


def _listening(config: Config) -> dict[Steps, str]:
    return {
        ("results", "publish"): config.results.publish,
        ("results", "handshake"): config.results.handshake,
        ("agent", "listen"): config.agent.listen,
    }


def _addresses(config: Config) -> Iterator[Problem]:
    for steps, address in _listening(config).items():
        if (address or steps[0] == "results") and (fault := zmq_fault(address)):
            yield Problem(steps, fault)
    if config.agent.listen and not config.agent.folder:
        yield Problem(("agent", "folder"), "is needed where agent.listen is set; write a folder for its logs")
    if split_host(config.metrics.address) is None:
        yield Problem(("metrics", "address"), "is not HOST:PORT")
    if config.server.url and split_host(config.server.url) is None:
        yield Problem(("server", "url"), "is not HOST:PORT")


def _taken_twice(config: Config) -> Iterator[Problem]:
    """Two ends of ours at one address."""
    sources = [source.address for source in config.source]
    for at, address in enumerate(sources):
        if address in sources[:at]:
            yield Problem(
                ("source", at, "address"), "two sources have the same address; each would get every other frame only"
            )
    bound = _listening(config)
    bound |= {("source", at, "address"): source.address for at, source in enumerate(config.source) if source.bind}
    first: dict[str, Steps] = {}
    for steps, address in bound.items():
        if not address or address.endswith(":*"):
            continue
        before = first.setdefault(address, steps)
        if before != steps and (before[0], steps[0]) != ("source", "source"):  # of two sources that is said above
            yield Problem(steps, f"{'.'.join(map(str, before))} listens there already; choose another port")
