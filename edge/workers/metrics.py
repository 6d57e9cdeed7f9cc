"""What Prometheus is told of the workers themselves, beside what it is told of any data plane."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.http.access import Access
from edge.http.metrics import NotReady, metrics_page
from edge.http.refusals import Refusals
from edge.http.server import serving
from edge.metrics import PipelineCollector
from edge.pipeline.totals import Totals
from edge.workers.slots import Place


class WorkersCollector(Collector):
    """Turns the places of workers into metric families."""

    def __init__(self, places: Mapping[int, Place]) -> None:
        self._places = places

    def collect(self) -> Iterator[Metric]:
        """All families; the gathering thread is never locked."""
        up = GaugeMetricFamily("edge_worker_up", "1 while the worker serves", labels=("worker",))
        restarts = CounterMetricFamily("edge_worker_restarts", "Processes after the first", labels=("worker",))
        for number, place in self._places.items():
            up.add_metric((str(number),), float(place.up))
            restarts.add_metric((str(number),), place.restarts)
        yield up
        yield restarts


def serve_metrics(
    totals: Totals, places: Mapping[int, Place], address: tuple[str, int], access: Access, not_ready: NotReady
) -> AbstractContextManager[str]:
    """As `edge.metrics.serve_metrics`, with the workers. Raises SocketError."""
    registry = CollectorRegistry()
    registry.register(PipelineCollector(totals))
    registry.register(WorkersCollector(places))
    return serving(address, metrics_page(registry, not_ready), access, Refusals(totals.http_refused))
