"""The counters of `edge tee` for Prometheus."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge.http.access import Access
from edge.http.metrics import metrics_page
from edge.http.refusals import Refusals
from edge.http.server import serving
from streams.tee import Counts


class TeeCollector(Collector):
    """Reads `Counts` at each scrape."""

    def __init__(self, counts: Counts, refused: Counter[str]) -> None:
        self._counts, self._refused = counts, refused

    def collect(self) -> Iterator[Metric]:
        c = self._counts
        counters = (
            ("edge_tee_messages_received", "Messages taken from the detector", c.received),
            ("edge_tee_received_bytes", "Bytes of their parts", c.received_bytes),
            ("edge_tee_messages_written", "Messages handed to the writer", c.written),
            ("edge_tee_copies_sent", "Copies handed on", c.copied),
            ("edge_tee_copies_dropped", "Copies that nobody took in time", c.dropped),
            ("edge_tee_writer_wait_seconds", "Time for which the writer was waited for", c.writer_wait_s),
            ("edge_tee_errors", "Unexpected errors after which it went on", c.errors),
        )
        for name, text, value in counters:
            yield CounterMetricFamily(name, text, value=value)
        stalled = float(c.writer_stalled)
        yield GaugeMetricFamily("edge_tee_writer_stalled", "1 while the writer takes nothing", value=stalled)
        refused = CounterMetricFamily("edge_http_refused", "HTTP requests and connections refused", labels=("reason",))
        for reason, count in dict(self._refused).items():
            refused.add_metric((reason,), count)
        yield refused


def serve_tee_metrics(counts: Counts, address: tuple[str, int], access: Access) -> AbstractContextManager[str]:
    """Serve /metrics on host and port (0: any free port) in threads; entered, it is `http(s)://HOST:PORT`.

    Raises:
        SocketError: the address, or a file that `access` names, cannot be used.
    """
    registry = CollectorRegistry()
    refusals = Refusals()
    registry.register(TeeCollector(counts, refusals.counts))
    return serving(address, metrics_page(registry), access, refusals)
