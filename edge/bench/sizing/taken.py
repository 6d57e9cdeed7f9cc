"""What /metrics tells: slots that are taken, frames and requests that wait."""

import time
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

TURN_S = 0.1
READ_S = 10.0


class Held(NamedTuple):
    """What a data plane holds."""

    slots: int
    requests: int
    waiting: int

    @property
    def nothing(self) -> bool:
        return not any(self)


NOTHING = Held(0, 0, 0)


def held(text: str) -> Held:
    """From the text of /metrics."""
    found = {"edge_slots": 0.0, "edge_requests_in_flight": 0.0, "edge_frames_waiting": 0.0}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found and sample.labels.get("state", "taken") == "taken":
                found[sample.name] += sample.value
    return Held(*map(int, found.values()))


def left_over(url: str, patience_s: float) -> Held:
    """What is held when nothing comes any more: asked until it is nothing, for so long.

    Raises:
        httpx.HTTPError: nobody answers.
    """
    deadline = time.monotonic() + patience_s
    while True:
        now = held(httpx.get(url, timeout=READ_S).text)
        if now.nothing or time.monotonic() > deadline:
            return now
        time.sleep(TURN_S)
