"""The gathering process put together from the configuration."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from edge import config as configuration
from edge.conditioning.errors import ConditioningError
from edge.conditioning.files import read_geometry
from edge.http.access import access_for
from edge.inference.repository import model_sha256
from edge.pipeline.disks import DiskWatch
from edge.pipeline.loop import Events
from edge.pipeline.readiness import RouteFacts
from edge.pipeline.sinks import ResultSink
from edge.pipeline.totals import Totals
from edge.results.files import ResultFiles
from edge.serverplan import models_source
from edge.simplon.dropped import DroppedPoll
from edge.supervision.notify import Notifier
from edge.workers.gather import Around, Gather
from edge.workers.link import QUEUED
from edge.workers.merged import Patience
from edge.workers.metrics import serve_metrics
from streams.sockets import MAX_PART_BYTES, Context, SocketError, context, publish, read_keys, router

NANOSECOND = 1_000_000_000
RETURN_NS = 60 * NANOSECOND
"""How long a series waits for another process in the place of a worker that recorded and ended."""
LINGER_MS = 2_000
"""How long the last results may take to leave at the end."""


@contextmanager
def gathering(
    config: configuration.Config, workers: int, link_address: str, recover: bool, notifier: Notifier
) -> Iterator[tuple[Gather, Events, dict[str, Any]]]:
    """Everything that gathers the results of workers: its loop, its events, and the real addresses.

    Args:
        config: of the whole, with its folders placed.
        workers: how many there are.
        link_address: where they connect to.
        recover: what workers recorded before is gone through again: files that are finished stay as they are.
        notifier: tells a supervisor what goes on.

    Raises:
        ConfigError, KeysError, SocketError, ResultFileError: it cannot run; the text says why.
    """
    totals, events = Totals(), Events()
    assembling = {source.name: assembles(source) for source in config.source}
    keys = read_keys(config.security.keys) if config.security.keys else None
    gather: Gather | None = None

    def not_ready() -> list[Any]:
        return [msgspec.to_builtins(problem) for problem in gather.problems] if gather is not None else [_STARTING]

    with ExitStack() as stack:
        ctx = stack.enter_context(context(keys=keys))
        stack.callback(events.wake_up.close)
        files = _files(config, events, recover, totals, stack)
        sink, addresses = _sink(ctx, config, files, stack)
        link = router(ctx, QUEUED)
        link.zmq.maxmsgsize = MAX_PART_BYTES  # workers are our own processes: they send results, not requests
        stack.callback(link.close)
        link.bind(link_address, plain=True)
        disks = stack.enter_context(_disks(config))
        around = Around(
            beat=notifier.beat,
            status=notifier.status,
            disks=disks.problems,
            required=config.results.required_subscribers,
            asks_dropped=_polls(config, events, stack),
        )
        gather = Gather(workers, link, sink, events, assembling, _routes(config), _patience(config), totals, around)
        host, port = configuration.host_and_port(config.metrics.address, "metrics.address")
        try:
            security = config.security
            access = access_for(host, "metrics.address", security.keys, security.tls_certificate, security.tls_key)
            metrics = stack.enter_context(serve_metrics(totals, gather.places, (host, port), access, not_ready))
        except SocketError as error:
            raise SocketError(f"metrics: {error}") from error
        addresses["metrics"] = f"{metrics}/metrics"
        yield gather, events, addresses


_STARTING = {"what": "starting", "why": "`edge serve` is starting", "remedy": "wait"}


def assembles(source: configuration.Source) -> bool:
    """Whether several frames of a source make one image. Raises ConfigError: its geometry cannot be read."""
    if source.conditioning is None or not source.conditioning.geometry:
        return False
    try:
        return len(read_geometry(source.conditioning.geometry, "geometry").modules) > 1
    except ConditioningError as error:
        raise configuration.ConfigError(f"source {source.name!r}: conditioning: {error}") from error


def _disks(config: configuration.Config) -> DiskWatch:
    return DiskWatch({"results": Path(config.results.folder)} if config.results.folder else {})


def _routes(config: configuration.Config) -> dict[str, RouteFacts]:
    every = [source.name for source in config.source]
    return {route.name: RouteFacts(route.model, True, frozenset(route.sources or every)) for route in config.route}


def _patience(config: configuration.Config) -> Patience:
    times = config.series
    return Patience(int(times.grace_s * NANOSECOND), int(times.idle_s * NANOSECOND), RETURN_NS)


def _polls(config: configuration.Config, events: Events, stack: ExitStack) -> dict[str, Callable[[], None]]:
    """What asks each detector how many images it dropped."""
    asked = [source for source in config.source if source.detector_url]
    return {
        source.name: stack.enter_context(DroppedPoll(source.name, source.detector_url, events.put)).ask
        for source in asked
    }


def _files(
    config: configuration.Config, events: Events, recover: bool, totals: Totals, stack: ExitStack
) -> ResultFiles | None:
    if not config.results.folder:
        return None
    source = models_source(config)
    models = {route.name: model_sha256(route.model, source=source) for route in config.route}
    logged = events.put if config.recording.folder else None
    files = ResultFiles(Path(config.results.folder), config.results.raw_frames, models, logged, recover)
    totals.not_logged = files.not_logged
    return stack.enter_context(files)


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
    routes = [route.name for route in config.route]
    keep, recall = (files.put, files.recall) if files else (None, None)
    origin, replay_bytes = os.urandom(8).hex(), config.results.replay_mib << 20
    return ResultSink(publisher, ask, addresses["results"], origin, routes, replay_bytes, keep, recall), addresses
