"""The data plane put together from its configuration: everything that `edge serve` runs."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edge import config as configuration
from edge.inference.events import Plan, Served
from edge.inference.options import ServerOptions
from edge.inference.repository import model_sha256, versions
from edge.inference.shared_memory import Namespace, Region
from edge.inference.supervisor import Supervisor
from edge.metrics import serve_metrics
from edge.models.registry import MODELS
from edge.pipeline.arena import Arena
from edge.pipeline.dispatch import RouteRunner, ServedModel
from edge.pipeline.intake import Intake
from edge.pipeline.loop import Events, Patience, ServingLoop
from edge.pipeline.outputs import OutputBlocks, depends_on_frame, outputs_nbytes
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from edge.results.files import ResultFiles
from streams.codecs import DECODERS
from streams.routing import Route
from streams.sockets import Context, Socket, SocketError, context, publish, router, source

NANOSECOND = 1_000_000_000
LINGER_MS = 2_000
"""How long the last results may take to leave at the end."""


@contextmanager
def data_plane(config: configuration.Config, triton_url: str) -> Iterator[tuple[ServingLoop, Events, dict[str, Any]]]:
    """Everything that `edge serve` runs, ready: the loop, its events, and the real addresses.

    Sources are connected last, when the server has passed its canaries: a detector sees no peer before.

    Raises:
        SocketError, ServerError, SharedMemoryError, ResultFileError: it cannot run; the text says why.
    """
    totals, events = Totals(), Events()
    with ExitStack() as stack:
        ctx = stack.enter_context(context())
        stack.callback(events.wake_up.close)
        publisher, ask = publish(ctx), router(ctx)
        stack.callback(publisher.close, LINGER_MS)
        stack.callback(ask.close, LINGER_MS)
        sink, addresses = _sink(publisher, ask, config, totals, stack)
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
        intakes = [
            _intake(ctx, each, Arena(region, each.name), runners, totals)
            for each, region in zip(config.source, frames, strict=True)
        ]
        patience = Patience(
            grace_ns=int(config.series.grace_s * NANOSECOND),
            idle_ns=int(config.series.idle_s * NANOSECOND),
            drain_ns=int(config.series.drain_s * NANOSECOND),
        )
        yield ServingLoop(intakes, runners, sink, events, patience, totals), events, addresses


def _sink(
    publisher: Socket, ask: Socket, config: configuration.Config, totals: Totals, stack: ExitStack
) -> tuple[ResultSink, dict[str, Any]]:
    addresses: dict[str, Any] = {
        "results": publisher.bind(config.results.publish),
        "handshake": ask.bind(config.results.handshake),
        "pid": os.getpid(),
    }
    models = {route.name: model_sha256(route.model) for route in config.route}
    keep = None
    if config.results.folder:
        folder = Path(config.results.folder)
        files = stack.enter_context(ResultFiles(folder, config.results.raw_frames, models))
        keep, totals.not_logged = files.put, files.not_logged
    origin = os.urandom(8).hex()
    replay_bytes = config.results.replay_mib << 20
    return ResultSink(publisher, ask, addresses["results"], origin, list(models), replay_bytes, keep), addresses


def _runners(config: configuration.Config, namespace: Namespace) -> tuple[list[RouteRunner], list[Region]]:
    runners, outputs = [], []
    for at, route in enumerate(config.route):
        spec = MODELS[route.model]
        model = ServedModel(spec, str(versions(spec.name)[-1]), model_sha256(spec.name), itemsizes(route))
        blocks = 2 * route.requests_in_flight  # as many again may be unsettled after a lost server
        if depends_on_frame(spec):
            nbytes = route.output_mib << 20
        else:
            nbytes = blocks * outputs_nbytes(spec, (0, 0), spec.max_batch)
        region = namespace.region(f"outputs-{at}", nbytes)
        outputs.append(region)
        rule = Route(route.name, route.model, route.sources, route.channels)
        runners.append(RouteRunner(rule, model, OutputBlocks(region, spec, blocks), route.requests_in_flight))
    return runners, outputs


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


def _intake(
    ctx: Context, config: configuration.Source, arena: Arena, runners: list[RouteRunner], totals: Totals
) -> Intake:
    socket = source(ctx, config.socket)
    if config.bind:
        socket.bind(config.address)
    else:
        socket.connect(config.address)
    return Intake(config.name, socket, DECODERS[config.protocol](config.name), arena, runners, totals)
