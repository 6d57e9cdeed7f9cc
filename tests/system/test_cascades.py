"""One route after another in the real `edge serve`: peaks are looked for in every frame, and only hits are denoised."""

import os
import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edge.demo.children import child
from edge.models.identity import checksum
from edge.physics.bragg import bragg_sample
from streams.codecs.results import Result, SeriesEnded
from streams.messages import Acquisition, Compression
from streams.recording.reader import read_capture
from streams.recording.segments import Message
from streams.simulation.faults import Faults
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import Sender, Simulation
from streams.sockets import Context, Socket, context, push
from streams.subscriber import Subscriber
from tests.system.serving import alive, descendants, wait_until

pytestmark = pytest.mark.usefixtures("triton")

SHAPE = (256, 256)
LEAST = 15
ROUTES = ["peaks", "hits", "checked"]

CONFIG = """
[[source]]
name = "det"
protocol = "stream-v2"
address = "{address}"
memory_mib = 4

[[route]]
name = "peaks"
model = "peaks"
pixel_bits = [16]

[[route]]
name = "hits"
model = "denoise"
pixel_bits = [16]
after = "peaks"
when = "count >= {least}"

[[route]]
name = "checked"
model = "identity"
pixel_bits = [16]
after = "hits"

[results]
publish = "tcp://127.0.0.1:*"
handshake = "tcp://127.0.0.1:*"
folder = "{folder}/results"

[recording]
folder = "{folder}/captures"

[metrics]
address = "127.0.0.1:0"

[series]
grace_s = 0.5
"""


@cache
def image(image_id: int) -> np.ndarray:
    """Every third frame shows the sample, the others its background alone."""
    rng = np.random.default_rng(image_id)
    if image_id % 3:
        return rng.poisson(1.0, SHAPE).astype(np.uint16)
    x, y = rng.random(2)
    return rng.poisson(bragg_sample(1).expected(x, y, SHAPE)).astype(np.uint16)


@dataclass
class Seen:
    """What a subscriber got, by route."""

    results: dict[str, dict[int, Result]] = field(default_factory=lambda: {route: {} for route in ROUTES})
    arrays: dict[str, dict[int, dict[str, np.ndarray]]] = field(default_factory=lambda: {route: {} for route in ROUTES})
    ended: dict[str, SeriesEnded] = field(default_factory=dict)

    def take(self, subscriber: Subscriber, until: Any, timeout_s: float = 60) -> None:
        """Receive until `until()`."""
        deadline = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < deadline, {route: len(found) for route, found in self.results.items()}
            received = subscriber.receive(0.5)
            if received is not None and isinstance(received[0], Result):
                notice, arrays = received
                assert notice.recovered or notice.image_id not in self.results[notice.route], "a result came twice"
                self.results[notice.route][notice.image_id] = notice
                self.arrays[notice.route][notice.image_id] = dict(arrays)
            elif received is not None and isinstance(received[0], SeriesEnded):
                self.ended[received[0].route] = received[0]

    def all_ended(self) -> bool:
        return len(self.ended) == len(ROUTES)

    def hits(self) -> list[int]:
        """Images in which so many peaks were found as the configuration asks for."""
        found = self.arrays["peaks"].items()
        return sorted(image_id for image_id, arrays in found if arrays["count"][0] >= LEAST)


class Station:
    """A detector whose address stays, and `edge serve` with three routes in a row."""

    def __init__(self, ctx: Context, detector: Socket, address: str, folder: Path) -> None:
        self._ctx, self._detector, self._folder = ctx, detector, folder
        (folder / "edge.toml").write_text(CONFIG.format(address=address, least=LEAST, folder=folder))

    @contextmanager
    def serving(self, *arguments: str) -> Iterator[tuple[dict[str, Any], Subscriber]]:
        with child("serve", ["-c", str(self._folder / "edge.toml"), *arguments], self._folder) as addresses:
            subscriber = Subscriber(self._ctx, addresses["handshake"], ROUTES, timeout_s=10)
            try:
                yield dict(addresses), subscriber
            finally:
                subscriber.close()

    def messages(self, images: int, faults: Faults | None = None) -> list[OnWire]:
        """A series: its start, a message an image, its end."""
        facts = (datetime.now(UTC).isoformat(), images, SHAPE, "uint16")
        simulation = Simulation(
            "stream-v2",
            Acquisition(1, "uid-1", *facts, compression=Compression.BSLZ4),
            image,
            faults=faults or Faults(),
        )
        return list(simulation.messages())

    def send(self, messages: list[OnWire]) -> None:
        Sender(self._detector, None).send(iter(messages))


@contextmanager
def station(folder: Path) -> Iterator[Station]:
    with context() as ctx:
        detector = push(ctx)
        yield Station(ctx, detector, detector.bind("tcp://127.0.0.1:*"), folder)


def check_hits(hits: list[int], images: int) -> None:
    """Most frames that show the sample have so many spots, and no other frame has."""
    assert set(hits) < set(range(0, images, 3))
    assert len(hits) > images // 5


def check_accounts(seen: Seen, images: int, hits: list[int]) -> None:
    """Every image is in the account of every route; those that were no hits as unwanted behind the first."""
    for route in ROUTES:
        ended = seen.ended[route]
        published = images if route == "peaks" else len(hits)
        account = {name: ended.account[name] for name in ("received", "published", "unwanted", "in_flight")}
        assert account == {"received": images, "published": published, "unwanted": images - published, "in_flight": 0}
        assert ended.verdict == "complete"


def metrics(addresses: dict[str, Any]) -> str:
    return urllib.request.urlopen(addresses["metrics"], timeout=5).read().decode()


def test_only_hits_go_on_and_their_images_are_not_copied_again(tmp_path):
    with station(tmp_path) as at, at.serving() as (addresses, subscriber):
        seen = Seen()
        at.send(at.messages(90))
        seen.take(subscriber, seen.all_ended)
        check_hits(seen.hits(), 90)
        assert sorted(seen.results["peaks"]) == list(range(90))
        assert sorted(seen.results["hits"]) == sorted(seen.results["checked"]) == seen.hits()
        check_accounts(seen, 90, seen.hits())
        for image_id in seen.hits():  # the same pixels reached all three
            expected = seen.arrays["hits"][image_id]["expected"]
            assert expected.shape == SHAPE
            assert expected.sum() == pytest.approx(image(image_id).sum(), rel=0.05)
            assert seen.arrays["checked"][image_id]["checksum"].tolist() == checksum(image(image_id)).tolist()
        # each tick of the loop brings these up to date
        wait_until(lambda: 'edge_slots{source="det",state="taken"} 0.0' in metrics(addresses), "the end of all work")
        text, hits = metrics(addresses), len(seen.hits())
        assert 'edge_images_copied_total{source="det"} 0.0' in text
        assert f'edge_frames_settled_total{{outcome="published",reason="",route="hits"}} {hits}.0' in text
        assert f'edge_frames_settled_total{{outcome="unwanted",reason="",route="hits"}} {90 - hits}.0' in text


def test_a_frame_that_cannot_be_read_is_a_loss_on_every_route(tmp_path):
    with station(tmp_path) as at, at.serving() as (_, subscriber):
        seen = Seen()
        at.send(at.messages(30, Faults(corrupted=frozenset({3}))))
        seen.take(subscriber, seen.all_ended)
        assert sorted(seen.results["peaks"]) == sorted({*range(30)} - {3})
        assert sorted(seen.results["hits"]) == sorted(seen.results["checked"]) == seen.hits()
        for ended in seen.ended.values():
            assert ended.verdict == "incomplete"
            assert ended.account["in_flight"] == 0


def test_after_a_kill_nothing_is_missing_and_nothing_is_there_twice(tmp_path):
    images, seen = 150, Seen()
    with station(tmp_path) as at:
        messages = at.messages(images)
        with at.serving() as (addresses, subscriber):
            at.send(messages[:120])
            seen.take(subscriber, lambda: len(seen.results["checked"]) >= 5)
            wait_until(lambda: recorded(tmp_path / "captures" / "det") == 120, "the capture")
            below = descendants(addresses["pid"])
            os.kill(addresses["pid"], signal.SIGKILL)
            wait_until(lambda: not any(map(alive, below)), "the end of all that edge serve had started")
        assert len(seen.results["checked"]) < 40  # it was killed in the middle
        with at.serving("--recover") as (addresses, subscriber):
            at.send(messages[120:])
            seen.take(subscriber, seen.all_ended)
            text = metrics(addresses)
            recalled = re.findall(r'edge_results_recalled_total\{route="(\w+)"\} (\d+)', text)
            assert {route for route, number in recalled if int(number)} == set(ROUTES)
            files = {route: built(tmp_path / "results", route) for route in ROUTES}
    count = files["peaks"].pop("count")
    hits = np.flatnonzero(count[:, 0] >= LEAST).tolist()
    check_hits(hits, images)
    assert files["peaks"]["rows"] == list(range(images))
    assert files["hits"]["rows"] == files["checked"]["rows"] == hits
    for image_id in hits:
        assert files["checked"]["checksum"][image_id].tolist() == checksum(image(image_id)).tolist()
    check_accounts(seen, images, hits)


def recorded(capture: Path) -> int:
    """Messages in a capture that is being written."""
    return sum(isinstance(one, Message) for one in read_capture(capture))


def built(folder: Path, route: str) -> dict[str, Any]:
    """The file of a route, which calls itself complete: the rows with a result, and the arrays of one number a row."""
    wait_until(lambda: len(list(folder.glob(f"*-{route}-*.h5"))) == 1, f"the file of {route}")
    (path,) = folder.glob(f"*-{route}-*.h5")
    with h5py.File(path) as file:
        assert file["entry/account/verdict"].asstr()[()] == "complete"
        data = file[f"entry/{route}/image"]
        rows = np.flatnonzero(data["status"][:] == 1).tolist()
        return {"rows": rows} | {name: data[name][:] for name in ("count", "checksum") if name in data}
