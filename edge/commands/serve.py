"""`edge serve`: composes the data plane from its configuration and runs it."""

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from edge import config as configuration
from edge.inference.errors import ServerError
from edge.inference.events import Plan, Served
from edge.inference.options import ServerOptions
from edge.inference.repository import model_sha256, versions
from edge.inference.shared_memory import Namespace, Region, SharedMemoryError
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
from edge.results.errors import ResultFileError
from edge.results.files import ResultFiles
from streams.codecs import DECODERS
from streams.routing import Route
from streams.sockets import Context, Socket, SocketError, context, publish, pull, router

log = logging.getLogger(__name__)

NANOSECOND = 1_000_000_000
LINGER_MS = 2_000
"""How long the last results may take to leave at the end."""


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--triton-url", metavar="HOST:PORT", help="gRPC address of a running Triton; overrides server.url.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the real addresses when ready.")
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def serve(path: Path, triton_url: str | None, as_json: bool, stop_at_eof: bool) -> None:
    """Run the data plane: frames in, inference, results out.

    Ends at Ctrl-C or SIGTERM, after the frames in flight. A second signal ends it at once.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until the loop runs, both signals unwind the start
    if stop_at_eof:
        threading.Thread(target=_signal_at_eof, name="parent-watch", daemon=True).start()
    try:
        config = configuration.load(path)
        if triton_url:
            configuration.host_and_port(triton_url, "--triton-url")
        with data_plane(config, triton_url or config.server.url) as (loop, events, addresses):
            _stop_on_signals(events)
            threading.excepthook = lambda failed: _stop_on_failure(failed, events)
            log.info("ready: %s", ", ".join(f"{name} {address}" for name, address in addresses.items()))
            if as_json:
                click.echo(json.dumps(addresses))
            loop.run()
        if events.failure:
            raise click.ClickException(events.failure)
    except (configuration.ConfigError, SocketError, ServerError, SharedMemoryError, ResultFileError) as error:
        raise click.ClickException(str(error)) from error


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
        frames = [namespace.region(f"frames-{at}", source.memory_mib << 20) for at, source in enumerate(config.source)]
        runners, outputs = _runners(config, namespace)
        regions = (*frames, *outputs)
        stack.enter_context(Supervisor(_plan(config, triton_url, namespace, regions), events.put))
        intakes = [
            _intake(ctx, source, Arena(region, source.name), runners, totals)
            for source, region in zip(config.source, frames, strict=True)
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
    ctx: Context, source: configuration.Source, arena: Arena, runners: list[RouteRunner], totals: Totals
) -> Intake:
    socket = pull(ctx)
    if source.bind:
        socket.bind(source.address)
    else:
        socket.connect(source.address)
    return Intake(source.name, socket, DECODERS[source.protocol](source.name), arena, runners, totals)


def _stop_on_signals(events: Events) -> None:
    def stop(signum: int, _: Any) -> None:
        if events.stop_requested:  # asked twice: at once
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        events.stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


def _stop_on_failure(failed: threading.ExceptHookArgs, events: Events) -> None:
    """A thread that ends by an unexpected error ends the process in order: whoever started it may start it anew."""
    log.critical("unexpected error in a thread", exc_info=failed.exc_value)
    events.failure = f"stopped after an unexpected error, {failed.exc_type.__name__}: {failed.exc_value}; see the log"
    events.stop()


def _signal_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
