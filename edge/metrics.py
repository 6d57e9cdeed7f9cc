"""Every Prometheus metric of the data plane, read from its totals in one snapshot at each scrape."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.http.access import Access
from edge.http.metrics import NotReady, metrics_page, nothing
from edge.http.refusals import Refusals
from edge.http.server import serving
from edge.pipeline.totals import Tally, Totals


class PipelineCollector(Collector):
    """Turns `Totals` into metric families."""

    def __init__(self, totals: Totals) -> None:
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """All families; copying a dict is atomic in CPython, so the serving loop is never locked."""
        t = self._totals
        yield _counter("edge_messages_received", "ZeroMQ messages taken in", ("source",), dict(t.messages))
        yield _counter(
            "edge_messages_malformed", "Messages that could not be read", ("source", "reason"), dict(t.malformed)
        )
        yield _counter(
            "edge_frames_arrived", "Frames by what their arrival meant", ("source", "arrival"), dict(t.arrivals)
        )
        yield _counter(
            "edge_frames_settled",
            "What became of the frames of a route",
            ("route", "outcome", "reason"),
            dict(t.outcomes),
        )
        yield _counter(
            "edge_results_untrained", "Published results outside of their model's range", ("route",), dict(t.untrained)
        )
        yield _counter("edge_messages_recovered", "Messages taken from a capture", ("source",), dict(t.recovered))
        yield _counter("edge_results_recalled", "Logged results published again", ("route",), dict(t.recalled))
        yield _counter("edge_messages_unrecorded", "Messages that are in no capture", ("source",), dict(t.not_recorded))
        yield _counter(
            "edge_images_copied", "Images copied once more, for a region or binning", ("source",), dict(t.images_copied)
        )
        yield _counter(
            "edge_modules_missing",
            "Modules of assembled images that did not come",
            ("source",),
            dict(t.modules_missing),
        )
        yield _counter(
            "edge_series_suspected", "Series of which every nth image is missing", ("source",), dict(t.suspicions)
        )
        yield _counter(
            "edge_detector_dropped", "Images that the detector says it dropped", ("source",), dict(t.detector_dropped)
        )
        yield _counter(
            "edge_positions_missing",
            "Results published without a position",
            ("source", "reason"),
            dict(t.positions_missing),
        )
        yield _counter(
            "edge_position_messages",
            "Messages of position boxes by what became of them",
            ("source", "outcome"),
            dict(t.position_messages),
        )
        yield _gauge("edge_results_held", "Results that wait for their position", ("source",), dict(t.held))
        yield _counter("edge_requests_retried", "Requests sent again", ("route", "kind"), dict(t.retries))
        yield _counter("edge_series_closed", "Closed series by verdict", ("route", "verdict"), dict(t.series))
        yield _counter(
            "edge_results_unlogged", "Published results that are in no result file", ("route",), dict(t.not_logged)
        )
        yield _counter(
            "edge_handshakes_refused", "Handshake messages that could not be read", (), {(): t.refused_requests}
        )
        yield _counter("edge_http_refused", "HTTP requests and connections refused", ("reason",), dict(t.http_refused))
        yield _counter(
            "edge_connections_refused",
            "ZeroMQ connections refused",
            ("socket", "reason"),
            dict(t.connections_refused),
        )
        yield _gauge("edge_peers_connected", "Connections of a source's socket", ("source",), dict(t.peers))
        yield _gauge("edge_subscribers_present", "Subscribers that gave their name", (), {(): t.subscribers})
        yield _gauge("edge_ready", "1 when a detector may be armed", (), {(): float(t.ready)})
        yield _gauge("edge_frames_waiting", "Frames that wait for the server", ("route",), dict(t.waiting))
        yield _gauge("edge_requests_in_flight", "Requests at the server", ("route",), dict(t.requests_in_flight))
        yield _gauge("edge_slots", "Slots of the frame memory by state", ("source", "state"), dict(t.slots))
        yield _gauge("edge_server_ready", "1 while inference is served", (), {(): float(t.server_ready)})
        yield _counter("edge_server_starts", "Times the inference server became ready", (), {(): t.server_epoch})
        yield _histogram("edge_result_latency_seconds", "Frame received to result published", dict(t.latency))
        yield _histogram("edge_batch_frames", "Frames in a request", dict(t.batches))


def serve_metrics(
    totals: Totals, address: tuple[str, int], access: Access, not_ready: NotReady = nothing
) -> AbstractContextManager[str]:
    """Serve /metrics, /healthz and /readyz on host and port (0: any free port) in threads; entered, it is
    `http(s)://HOST:PORT`. `not_ready` is what /readyz tells.

    Raises:
        SocketError: the address, or a file that `access` names, cannot be used.
    """
    registry = CollectorRegistry()
    registry.register(PipelineCollector(totals))
    return serving(address, metrics_page(registry, not_ready), access, Refusals(totals.http_refused))


def _labels(key: Any) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _counter(name: str, text: str, labels: tuple[str, ...], values: dict[Any, Any]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(_labels(key), value)
    return family


def _gauge(name: str, text: str, labels: tuple[str, ...], values: dict[Any, Any]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(_labels(key), value)
    return family


def _histogram(name: str, text: str, tallies: dict[str, Tally]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("route",))
    for route, tally in tallies.items():
        family.add_metric((route,), tally.cumulative(), tally.sum)
    return family
