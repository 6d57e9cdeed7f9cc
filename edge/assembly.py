"""The data plane put together from its configuration: everything that `edge serve` runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from edge import config as configuration
from edge.conditioning.errors import ConditioningError
from edge.conditioning.loading import load
from edge.conditioning.selection import Selection
from edge.http.access import access_for
from edge.inference.cards import valid_of
from edge.inference.events import Plan
from edge.inference.repository import model_sha256, version_folder, versions
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from edge.metrics import serve_metrics
from edge.models.registry import MODELS
from edge.models.spec import ModelSpec
from edge.pipeline.arena import Arena
from edge.pipeline.cascades import Cascades
from edge.pipeline.decompression import Decompression
from edge.pipeline.disks import DiskWatch
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet, Recorded
from edge.pipeline.intake import Book, Intake
from edge.pipeline.loop import Events, Patience, ServingLoop
from edge.pipeline.outputs import OutputBlocks, depends_on_frame, outputs_nbytes
from edge.pipeline.outside import Listening, Outside
from edge.pipeline.placing import Placement
from edge.pipeline.policy import Policy
from edge.pipeline.preparing import Preparing
from edge.pipeline.sinks import ResultSink, Sink
from edge.pipeline.totals import Totals
from edge.positions import wiring as positioning
from edge.recovery import recordings
from edge.results.files import ResultFiles
from edge.serverplan import itemsizes, models_source, served, server_options
from edge.simplon.dropped import DroppedPoll
from edge.supervision.notify import Notifier
from edge.workers.link import Link
from streams import codecs
from streams.ledger.book import SeriesBook
from streams.ledger.shares import read_share
from streams.messages import Decoder
from streams.routing import Condition, Route, inherited
from streams.sockets import Context, SocketError, context, publish, read_keys, router, source

NANOSECOND = 1_000_000_000
STARTING = {
    "what": "data plane",
    "why": "it is starting",
    "remedy": "wait until the models have answered their canaries",
}
LINGER_MS = 2_000
"""How long the last results may take to leave at the end."""


@contextmanager
def data_plane(
    config: configuration.Config,
    triton: str | Path = "",
    recover: bool = False,
    notifier: Notifier | None = None,
    link: Link | None = None,
) -> Iterator[tuple[ServingLoop, Events, dict[str, Any]]]:
    """Everything that `edge serve` runs, ready: the loop, its events, and the real addresses.

    Sources are connected last, when the server has passed its canaries: a detector sees no peer before.

    Args:
        config: with its folders placed (`edge.config.placed`).
        triton: address of a running server, or the file in which `edge triton` announces one; empty: one of our own.
        recover: the sources first go through what the captures of an earlier process hold and it did not finish.
        notifier: tells a supervisor what goes on.
        link: of a worker: where its results go in place of sockets and files of its own.

    Raises:
        ConfigError: a file that the conditioning of a source names cannot be used.
        KeysError: the keys cannot be used.
        SocketError, ServerError, SharedMemoryError, ResultFileError, RecordingError: it cannot run; the text says why.
    """
    totals, events = Totals(), Events()
    prepared = [_preparing(each) for each in config.source]
    models = models_source(config)
    keys = read_keys(config.security.keys) if config.security.keys else None
    loop: ServingLoop | None = None

    def not_ready() -> list[Any]:
        return [STARTING] if loop is None else [msgspec.to_builtins(problem) for problem in loop.problems]

    with ExitStack() as stack:
        ctx = stack.enter_context(context(keys=keys))
        stack.callback(events.wake_up.close)
        recorded = stack.enter_context(recordings(config, recover))
        sink: Sink
        if link is None:
            files = _files(config, models, events, recover, totals, stack)
            sink, addresses = _sink(ctx, config, files, stack)
        else:
            sink, addresses = link, link.connect(ctx, stack)
        metrics = stack.enter_context(_metrics(config, totals, not_ready))
        addresses["metrics"] = f"{metrics}/metrics"
        namespace = stack.enter_context(Namespace())
        frames = [namespace.region(f"frames-{at}", each.memory_mib << 20) for at, each in enumerate(config.source)]
        runners, outputs = _runners(config, models, namespace)
        stack.enter_context(Supervisor(_plan(config, models, triton, namespace, (*frames, *outputs)), events.put))
        cascades = Cascades(runners, totals)
        joining = positioning.joining(ctx, {each.name: each.positions for each in config.source}, totals, stack)
        intakes = [
            Intake(
                _inlet(ctx, each, found, totals),
                *_ledger(each, link),
                _placement(each, region, preparing, events, stack),
                runners,
                totals,
                cascades,
                _poll(each, events, stack),
            )
            for each, region, found, preparing in zip(config.source, frames, recorded, prepared, strict=True)
        ]
        outside = _outside(config, stack.enter_context(_disks(config)), notifier)
        if link is not None:
            link.watch(intakes, events, totals)
            outside = replace(outside, seen=link.seen)
        loop = ServingLoop(intakes, runners, sink, events, _patience(config), totals, cascades, joining, outside)
        yield loop, events, addresses


@contextmanager
def _metrics(config: configuration.Config, totals: Totals, not_ready: Callable[[], list[Any]]) -> Iterator[str]:
    host, port = configuration.host_and_port(config.metrics.address, "metrics.address")
    security = config.security
    try:
        access = access_for(host, "metrics.address", security.keys, security.tls_certificate, security.tls_key)
    except SocketError as error:
        raise configuration.ConfigError(str(error)) from error
    with ExitStack() as stack:
        try:
            address = stack.enter_context(serve_metrics(totals, (host, port), access, not_ready))
        except SocketError as error:
            raise SocketError(f"metrics: {error}") from error
        yield address


def _disks(config: configuration.Config) -> DiskWatch:
    folders = {"recording": config.recording.folder, "results": config.results.folder}
    return DiskWatch({what: Path(folder) for what, folder in folders.items() if folder})


def _outside(config: configuration.Config, disks: DiskWatch, notifier: Notifier | None) -> Outside:
    told = {} if notifier is None else {"beat": notifier.beat, "status": notifier.status}
    return Outside(
        listening={each.name: Listening(each.address, each.bind) for each in config.source},
        required=config.results.required_subscribers,
        disks=disks.problems,
        **told,
    )


def _patience(config: configuration.Config) -> Patience:
    return Patience(
        grace_ns=int(config.series.grace_s * NANOSECOND),
        idle_ns=int(config.series.idle_s * NANOSECOND),
        drain_ns=int(config.series.drain_s * NANOSECOND),
    )


def _files(
    config: configuration.Config, models: Path, events: Events, recover: bool, totals: Totals, stack: ExitStack
) -> ResultFiles | None:
    if not config.results.folder:
        return None
    weights = {route.name: model_sha256(route.model, source=models) for route in config.route}
    logged = events.put if config.recording.folder else None
    files = ResultFiles(Path(config.results.folder), config.results.raw_frames, weights, logged, recover)
    totals.not_logged = files.not_logged
    return stack.enter_context(files)


def _ledger(source: configuration.Source, link: Link | None) -> tuple[Decoder, Book]:
    decoder = codecs.decoder(source.protocol, source.name, source.options)
    if link is None:
        return decoder, SeriesBook(read_share(source.share))
    return link.decoder(source.name, decoder), link.book(source.name)


def _sink(
    ctx: Context, config: configuration.Config, files: ResultFiles | None, stack: ExitStack
) -> tuple[ResultSink, dict[str, Any]]:
    publisher, ask = publish(ctx), router(ctx)
    stack.callback(publisher.close, LINGER_MS)
    stack.callback(ask.close, LINGER_MS)
    addresses: dict[str, Any] = {
        "results": publisher.bind(config.results.publish),
        "handshake": ask.bind(config.results.handshake),
        "pid": os.getpid(),
    }
    origin = os.urandom(8).hex()
    routes = [route.name for route in config.route]
    replay_bytes = config.results.replay_mib << 20
    keep, recall = (files.put, files.recall) if files else (None, None)
    return ResultSink(publisher, ask, addresses["results"], origin, routes, replay_bytes, keep, recall), addresses


def _placement(
    config: configuration.Source, region: Region, preparing: Preparing, events: Events, stack: ExitStack
) -> Placement:
    decompression = stack.enter_context(Decompression(config.decompression_threads, events.wake_up.set))
    arena = Arena(region, config.name)
    return Placement(arena, positioning.reader_of(config.positions), preparing, decompression)


def _runners(
    config: configuration.Config, models: Path, namespace: Namespace
) -> tuple[list[RouteRunner], list[Region]]:
    runners, outputs = [], []
    dropping = sum(route.when_full != "block" for route in config.route)
    rules = inherited([_rule(route) for route in config.route])
    for at, (route, rule) in enumerate(zip(config.route, rules, strict=True)):
        spec = MODELS[route.model]
        model = _model(spec, models, itemsizes(route))
        count = 2 * route.requests_in_flight  # as many again may be unsettled after a lost server
        if depends_on_frame(spec):
            nbytes = route.output_mib << 20
        else:
            nbytes = count * outputs_nbytes(spec, (0, 0), spec.max_batch)
        region = namespace.region(f"outputs-{at}", nbytes)
        outputs.append(region)
        blocks, policy = OutputBlocks(region, spec, count), Policy(route.when_full, route.slots, dropping)
        runners.append(RouteRunner(rule, model, blocks, route.requests_in_flight, _selection(route), policy))
    return runners, outputs


def _model(spec: ModelSpec, models: Path, sizes: tuple[int, ...]) -> ServedModel:
    version, sha256 = str(versions(spec.name, models)[-1]), model_sha256(spec.name, source=models)
    return ServedModel(spec, version, sha256, sizes, valid_of(spec.name, version_folder(spec.name, source=models)))


def _rule(route: configuration.RouteConfig) -> Route:
    when = Condition.parse(route.when) if route.when else None
    return Route(route.name, route.model, route.sources, route.channels, route.after, when)


def _selection(route: configuration.RouteConfig) -> Selection:
    if not route.region:
        return Selection(None, route.binning)
    row, column, height, width = route.region
    return Selection((row, column, height, width), route.binning)


def _preparing(source: configuration.Source) -> Preparing:
    try:
        return Preparing(load(source.conditioning) if source.conditioning is not None else None)
    except ConditioningError as error:
        raise configuration.ConfigError(f"source {source.name!r}: conditioning: {error}") from error


def _plan(
    config: configuration.Config, models: Path, triton: str | Path, namespace: Namespace, regions: tuple[Region, ...]
) -> Plan:
    return Plan(
        models=served(config),
        namespace=namespace,
        regions=regions,
        url=triton if isinstance(triton, str) and triton else None,
        announced=triton if isinstance(triton, Path) else None,
        server=server_options(config),
        transport=config.server.transport,
        source=models,
    )


def _poll(config: configuration.Source, events: Events, stack: ExitStack) -> Callable[[], None]:
    """What asks the detector how many images it dropped."""
    if not config.detector_url:
        return lambda: None
    return stack.enter_context(DroppedPoll(config.name, config.detector_url, events.put)).ask


def _inlet(ctx: Context, config: configuration.Source, found: Recorded, totals: Totals) -> Inlet:
    socket = source(ctx, config.socket)
    if config.bind:
        socket.bind(config.address, plain=config.plain)
    else:
        socket.connect(config.address, plain=config.plain)
    return Inlet(config.name, socket, totals, found)
