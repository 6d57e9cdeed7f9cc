"""The counters of `edge tee` for Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.tee import Counts


class TeeCollector(Collector):
    """Reads `Counts` at each scrape."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

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


def serve(counts: Counts, host: str, port: int) -> tuple[Any, int]:
    """Serve /metrics on `host:port` (0: any free port) in a thread; the server and the real port.

    Raises:
        OSError: the port is in use.
    """
    registry = CollectorRegistry()
    registry.register(TeeCollector(counts))
    server, _ = start_http_server(port, host, registry)
    return server, int(server.server_port)
