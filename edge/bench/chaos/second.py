"""A subscriber that may be stopped and killed: `python -m edge.bench.chaos.second HANDSHAKE`, ends with its input.

Prints JSON lines: {"newest": {route: [series, image]}, "lost": n} ten times a second, and
{"ended": series uid, "route": route, "results": n} for each series and route.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

from streams.codecs.results import Result, SeriesEnded
from streams.sockets import context
from streams.subscriber import NoAnswer, Subscriber

EVERY_S = 0.1


def main(address: str) -> None:
    """Listen until the input ends."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    with context() as ctx, _subscribed(ctx, address) as subscriber:
        counts: Counter[tuple[str, str]] = Counter()
        newest: dict[str, list[int]] = {}
        told_s = 0.0
        while True:
            received = subscriber.receive(EVERY_S)
            notice = received[0] if received else None
            if isinstance(notice, Result):
                counts[notice.series_uid, notice.route] += 1
                newest[notice.route] = [notice.series_id, notice.image_id]
            elif isinstance(notice, SeriesEnded):
                results = counts.pop((notice.series_uid, notice.route), 0)
                _say({"ended": notice.series_uid, "route": notice.route, "results": results})
            if time.monotonic() > told_s + EVERY_S:
                told_s = time.monotonic()
                _say({"newest": newest, "lost": subscriber.lost})


def _subscribed(ctx: Any, address: str) -> Subscriber:
    while True:
        try:
            return Subscriber(ctx, address, timeout_s=2.0)
        except NoAnswer:
            continue


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _end_with_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
