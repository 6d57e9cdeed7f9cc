"""The counters of /metrics that `edge watch` shows."""

from collections.abc import Iterator

import httpx
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 1.0
ARRIVED = "edge_frames_arrived_total"
UNREAD = "edge_messages_malformed_total"


def scraped(address: str) -> str:
    """The page at `address`; empty where there is none at present: the counters are shown as they were."""
    try:
        return httpx.get(address, timeout=TIMEOUT_S, trust_env=False).text
    except httpx.HTTPError:
        return ""


def arrived(page: str) -> dict[str, int]:
    """New frames by source. Pure; a page that cannot be read has none."""
    try:
        return {labels["source"]: count for labels, count in _counters(page, ARRIVED) if labels["arrival"] == "new"}
    except ValueError:
        return {}


def unread(page: str) -> dict[tuple[str, str], int]:
    """Messages that could not be read, by source and reason. Pure; a page that cannot be read has none."""
    try:
        return {(labels["source"], labels["reason"]): count for labels, count in _counters(page, UNREAD) if count}
    except ValueError:
        return {}


def _counters(page: str, name: str) -> Iterator[tuple[dict[str, str], int]]:
    for family in text_string_to_metric_families(page):
        yield from ((sample.labels, int(sample.value)) for sample in family.samples if sample.name == name)
