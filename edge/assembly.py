"""The data plane put together from its configuration: everything that `edge serve` runs."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edge import config as configuration
from edge.conditioning.errors import ConditioningError
from edge.conditioning.loading import load
from edge.conditioning.selection import Selection
from edge.inference.events import Plan, Served
from edge.inference.options import ServerOptions
from edge.inference.repository import model_sha256, versions
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from edge.metrics import serve_metrics
from edge.models.registry import MODELS
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.inlet import Inlet, Recorded
from edge.pipeline.intake import Intake
from edge.pipeline.loop import Events, Patience, ServingLoop
from edge.pipeline.outputs import OutputBlocks, depends_on_frame, outputs_nbytes
from edge.pipeline.placing import Placement
from edge.pipeline.preparing import Preparing
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from edge.positions import wiring as positioning
from edge.recovery import recordings
from edge.results.files import ResultFiles
from edge.simplon.dropped import DroppedPoll
from streams import codecs
from streams.ledger.book import SeriesBook
from streams.ledger.shares import read_share
from streams.routing import Route
from streams.sockets import Context, Socket, SocketError, context, publish, router, source

NANOSECOND = 1_000_000_000
LINGER_MS = 2_000
"""How long the last results may take to leave at the end."""


@contextmanager
def data_plane(
    config: configuration.Config, triton_url: str, recover: bool = False
) -> Iterator[tuple[ServingLoop, Events, dict[str, Any]]]:
    """Everything that `edge serve` runs, ready: the loop, its events, and the real addresses.

    Sources are connected last, when the server has passed its canaries: a detector sees no peer before.

    With `recover` the sources first go through what the captures of an earlier process hold and it did not finish.

    Raises:
        ConfigError: a file that the conditioning of a source names cannot be used.
        SocketError, ServerError, SharedMemoryError, ResultFileError, RecordingError: it cannot run; the text says why.
    """
    totals, events = Totals(), Events()
    prepared = [_preparing(each) for each in config.source]
    with ExitStack() as stack:
        ctx = stack.enter_context(context())
        stack.callback(events.wake_up.close)
        publisher, ask = publish(ctx), router(ctx)
        stack.callback(publisher.close, LINGER_MS)
        stack.callback(ask.close, LINGER_MS)
        recorded = stack.enter_context(recordings(config, recover))
        files = _files(config, events, recover, totals, stack)
        sink, addresses = _sink(publisher, ask, config, files)
        metrics_host, metrics_port = configuration.host_and_port(config.metrics.address, "metrics.address")
        try:
            server, metrics_port = serve_metrics(totals, metrics_host, metrics_port)
        except OSError as error:
            raise SocketError(
                f"cannot serve metrics on {config.metrics.address}: {error.strerror}; change metrics.address"
            ) from error
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        addresses["metrics"] = f"http://{metrics_host}:{metrics_port}/metrics"
        namespace = stack.enter_context(Namespace())
        frames = [namespace.region(f"frames-{at}", each.memory_mib << 20) for at, each in enumerate(config.source)]
        runners, outputs = _runners(config, namespace)
        regions = (*frames, *outputs)
        stack.enter_context(Supervisor(_plan(config, triton_url, namespace, regions), events.put))
        joining = positioning.joining(ctx, {each.name: each.positions for each in config.source}, totals, stack)
        intakes = [
            Intake(
                _inlet(ctx, each, found, totals),
                codecs.decoder(each.protocol, each.name, each.options),
                SeriesBook(read_share(each.share)),
                Placement(Arena(region, each.name), positioning.reader_of(each.positions), preparing),
                runners,
                totals,
                _poll(each, events, stack),
            )
            for each, region, found, preparing in zip(config.source, frames, recorded, prepared, strict=True)
        ]
        patience = Patience(
            grace_ns=int(config.series.grace_s * NANOSECOND),
            idle_ns=int(config.series.idle_s * NANOSECOND),
            drain_ns=int(config.series.drain_s * NANOSECOND),
        )
        yield ServingLoop(intakes, runners, sink, events, patience, totals, joining), events, addresses


def _files(
    config: configuration.Config, events: Events, recover: bool, totals: Totals, stack: ExitStack
) -> ResultFiles | None:
    if not config.results.folder:
        return None
    models = {route.name: model_sha256(route.model) for route in config.route}
    logged = events.put if config.recording.folder else None
    files = ResultFiles(Path(config.results.folder), config.results.raw_frames, models, logged, recover)
    totals.not_logged = files.not_logged
    return stack.enter_context(files)


def _sink(
    publisher: Socket, ask: Socket, config: configuration.Config, files: ResultFiles | None
) -> tuple[ResultSink, dict[str, Any]]:
    addresses: dict[str, Any] = {
        "results": publisher.bind(config.results.publish),
        "handshake": ask.bind(config.results.handshake),
        "pid": os.getpid(),
    }
    origin = os.urandom(8).hex()
    routes = [route.name for route in config.route]
    replay_bytes = config.results.replay_mib << 20
    keep = files.put if files else None
    return ResultSink(publisher, ask, addresses["results"], origin, routes, replay_bytes, keep), addresses


def _runners(config: configuration.Config, namespace: Namespace) -> tuple[list[RouteRunner], list[Region]]:
    runners, outputs = [], []
    for at, route in enumerate(config.route):
        spec = MODELS[route.model]
        model = ServedModel(spec, str(versions(spec.name)[-1]), model_sha256(spec.name), itemsizes(route))
        count = 2 * route.requests_in_flight  # as many again may be unsettled after a lost server
        if depends_on_frame(spec):
            nbytes = route.output_mib << 20
        else:
            nbytes = count * outputs_nbytes(spec, (0, 0), spec.max_batch)
        region = namespace.region(f"outputs-{at}", nbytes)
        outputs.append(region)
        rule = Route(route.name, route.model, route.sources, route.channels)
        blocks = OutputBlocks(region, spec, count)
        runners.append(RouteRunner(rule, model, blocks, route.requests_in_flight, _selection(route)))
    return runners, outputs


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


def itemsizes(route: configuration.RouteConfig) -> tuple[int, ...]:
    """Bytes a pixel that `route` takes."""
    return tuple(sorted({bits // 8 for bits in route.pixel_bits}))


def _plan(config: configuration.Config, triton_url: str, namespace: Namespace, regions: tuple[Region, ...]) -> Plan:
    wanted: dict[str, set[int]] = {}
    for route in config.route:
        wanted.setdefault(route.model, set()).update(itemsizes(route))
    served = tuple(Served(MODELS[name], tuple(sorted(sizes))) for name, sizes in wanted.items())
    options: dict[str, Any] = {"ort_threads": config.server.onnxruntime_threads}
    if config.server.python:
        options["python"] = Path(config.server.python)
    if config.server.log_dir:
        options["log_dir"] = Path(config.server.log_dir)
    return Plan(
        models=served,
        namespace=namespace,
        regions=regions,
        url=triton_url or None,
        server=ServerOptions(**options),
        transport=config.server.transport,
    )


def _poll(config: configuration.Source, events: Events, stack: ExitStack) -> Callable[[], None]:
    """What asks the detector how many images it dropped."""
    if not config.detector_url:
        return lambda: None
    return stack.enter_context(DroppedPoll(config.name, config.detector_url, events.put)).ask


def _inlet(ctx: Context, config: configuration.Source, found: Recorded, totals: Totals) -> Inlet:
    socket = source(ctx, config.socket)
    if config.bind:
        socket.bind(config.address)
    else:
        socket.connect(config.address)
    return Inlet(config.name, socket, totals, found)
