from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from edge.metrics import PipelineCollector
from edge.pipeline.totals import BATCH_BOUNDS, LATENCY_BOUNDS_S, Tally, Totals


def scraped(totals: Totals) -> dict[tuple[str, ...], float]:
    """Samples as Prometheus reads them: value by name and label values."""
    registry = CollectorRegistry()
    registry.register(PipelineCollector(totals))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }


def test_an_idle_data_plane_can_be_scraped():
    samples = scraped(Totals())
    assert samples["edge_server_ready",] == samples["edge_ready",] == 0
    assert samples["edge_server_starts_total",] == 0


def test_every_total_is_told():
    totals = Totals(refused_requests=3, server_ready=True, server_epoch=2, subscribers=15, ready=True)
    totals.http_refused["no_token"] = 16
    totals.connections_refused["results", "not_allowed"] = 17
    totals.peers["det"] = 18
    totals.messages["det"] = 7
    totals.malformed["det", "truncated"] = 1
    totals.arrivals["det", "new"] = 5
    totals.outcomes["ptycho", "failed", "wrong_shape"] = 4
    totals.retries["ptycho", "unavailable"] = 6
    totals.series["ptycho", "complete"] = 8
    totals.positions_missing["det", "gap"] = 12
    totals.position_messages["det", "read"] = 13
    totals.held["det"] = 14
    totals.waiting["ptycho"] = 9
    totals.requests_in_flight["ptycho"] = 10
    totals.slots["det", "free"] = 11
    totals.observe_latency("ptycho", 0.003)
    totals.observe_batch("ptycho", 16)
    samples = scraped(totals)
    assert samples["edge_messages_received_total", "det"] == 7
    assert samples["edge_messages_malformed_total", "truncated", "det"] == 1
    assert samples["edge_frames_arrived_total", "new", "det"] == 5
    assert samples["edge_frames_settled_total", "failed", "wrong_shape", "ptycho"] == 4
    assert samples["edge_requests_retried_total", "unavailable", "ptycho"] == 6
    assert samples["edge_series_closed_total", "ptycho", "complete"] == 8
    assert samples["edge_positions_missing_total", "gap", "det"] == 12
    assert samples["edge_position_messages_total", "read", "det"] == 13
    assert samples["edge_results_held", "det"] == 14
    assert samples["edge_frames_waiting", "ptycho"] == 9
    assert samples["edge_requests_in_flight", "ptycho"] == 10
    assert samples["edge_slots", "det", "free"] == 11
    assert samples["edge_handshakes_refused_total",] == 3
    assert samples["edge_http_refused_total", "no_token"] == 16
    assert samples["edge_connections_refused_total", "not_allowed", "results"] == 17
    assert samples["edge_peers_connected", "det"] == 18
    assert samples["edge_subscribers_present",] == 15
    assert samples["edge_ready",] == 1
    assert samples["edge_server_ready",] == 1
    assert samples["edge_server_starts_total",] == 2
    assert samples["edge_result_latency_seconds_bucket", "0.002", "ptycho"] == 0
    assert samples["edge_result_latency_seconds_bucket", "0.005", "ptycho"] == 1
    assert samples["edge_result_latency_seconds_sum", "ptycho"] == 0.003
    assert samples["edge_batch_frames_bucket", "16.0", "ptycho"] == 1


def test_a_value_on_a_bound_belongs_below_it():
    for bounds in (LATENCY_BOUNDS_S, BATCH_BOUNDS):
        tally = Tally(bounds)
        for bound in bounds:
            tally.add(bound)
        assert [count for _, count in tally.cumulative()] == [*range(1, len(bounds) + 1), len(bounds)]
