"""`edge serve --workers`: several processes for one stream, and from outside one."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.demo.children import child
from edge.models.identity import checksum
from edge.workers.gone import Watched
from streams.codecs.results import Result, SeriesEnded, SeriesStarted
from streams.controller import Controller
from streams.sockets import context, push
from tests.system.serving import CONFIG, Station, image, wait_until
from tests.system.test_result_file import check_rows, the_only

pytestmark = pytest.mark.usefixtures("triton")

WORKERS = 3


@contextmanager
def station(folder: Path, results: str = "", settings: str = "") -> Iterator[Station]:
    """Three workers, their detector and their subscriber; `results` is more of that table, `settings` more TOML."""
    with context() as ctx:
        detector = push(ctx)
        address = detector.bind("tcp://127.0.0.1:*")
        config = CONFIG.format(protocol="stream-v2", address=address, memory_mib=4)
        file = folder / "edge.toml"
        config = config.replace("[metrics]", f"{results}\n[metrics]")
        file.write_text(f'{config}{settings}\n[up]\nfolder = "{folder}/run"\n')
        with child("serve", ["-c", str(file), "--workers", str(WORKERS)], folder) as addresses:
            at = Station(ctx, detector, "stream-v2", dict(addresses))
            try:
                yield at
            finally:
                at.results.close()


def notices(at: Station, timeout_s: float = 40) -> tuple[list[SeriesStarted], dict[int, list[int]], SeriesEnded]:
    """What comes up to the next series end: starts, checksums by image id, the end."""
    starts: list[SeriesStarted] = []
    checksums: dict[int, list[int]] = {}
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        received = at.results.receive(1)
        if received is None:
            continue
        notice, arrays = received
        if isinstance(notice, SeriesStarted):
            starts.append(notice)
        elif isinstance(notice, SeriesEnded):
            return starts, checksums, notice
        elif isinstance(notice, Result):
            assert notice.image_id not in checksums, "a result came twice"
            checksums[notice.image_id] = arrays["checksum"].tolist()
    raise AssertionError(f"no series end within {timeout_s} s; {len(checksums)} results came")


def pids(at: Station) -> list[int]:
    return [worker["pid"] for worker in at.addresses["workers"]]


def metric(at: Station, name: str) -> float:
    with urllib.request.urlopen(at.addresses["metrics"]) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def wait_for_worker(at: Station, restarts: int) -> None:
    """Until all are there again, and the controller is told so."""
    with Controller(at.ctx, at.addresses["handshake"], 10) as controller:

        def there() -> bool:
            return metric(at, "edge_worker_restarts_total") >= restarts and controller.ready("det").ready

        wait_until(there, "the return of the worker", 60)


def told(checksums: dict[int, list[int]]) -> set[int]:
    """The images that have a result; each must be that image's own."""
    assert checksums == {image_id: checksum(image(image_id)).tolist() for image_id in checksums}
    return set(checksums)


def test_three_workers_are_as_one(tmp_path: Path):
    folder = tmp_path / "results"
    with station(tmp_path, f'folder = "{folder}"') as at:
        with Controller(at.ctx, at.addresses["handshake"], 10) as controller:
            wait_until(lambda: controller.ready("det").ready, "readiness")
            for number in (1, 2):
                images = 150 * number
                at.send(at.simulation(images, number))
                starts, checksums, ended = notices(at)
                assert [(start.announced, start.expected) for start in starts] == [(True, images)]
                assert told(checksums) == set(range(images))
                assert (ended.verdict, ended.reason) == ("complete", "end")
                assert (ended.arrivals["received"], ended.arrivals["missing"]) == (images, 0)
                assert ended.account["published"] == ended.account["received"] == images
                assert 0 < ended.latency_ms["p50"] <= ended.latency_ms["max"]
                assert (ended.share, ended.intervals) == ("", {})
                now = controller.account("det", number, "check")
                assert now is not None and not now.open and now.account == ended.account
        shares = [worker["pid"] for worker in at.addresses["workers"]]
        assert len(set(shares)) == WORKERS
        assert metric(at, "edge_worker_up") == WORKERS
    assert check_rows(the_only(folder, "*series-2*.h5"), 300) == set(range(300))
    assert check_rows(the_only(folder, "*series-1*.h5"), 150) == set(range(150))


def test_a_killed_worker_is_accounted_for_and_comes_back(tmp_path: Path):
    with station(tmp_path) as at:
        victim = pids(at)[1]

        def kill(sent: int) -> None:
            if sent == 200:
                os.kill(victim, signal.SIGKILL)

        at.send(at.simulation(400), 400.0, kill)
        starts, checksums, ended = notices(at)
        assert len(starts) == 1
        published = told(checksums)
        arrivals, account = ended.arrivals, ended.account
        assert len(published) == account["published"]
        assert arrivals["expected"] == 400 == (arrivals["received"] or 0) + (arrivals["missing"] or 0)
        lost = sum(account["failed"].values())
        assert account["received"] == account["published"] + lost == arrivals["received"]
        assert set(account["failed"]) <= {"worker_lost"}
        assert ended.verdict == ("complete" if len(published) == 400 else "incomplete")
        wait_for_worker(at, 1)
        at.send(at.simulation(120, 2))
        _, checksums, ended = notices(at)
        assert told(checksums) == set(range(120))
        assert ended.verdict == "complete"


def test_a_killed_worker_that_recorded_loses_nothing_that_it_had(tmp_path: Path):
    results, captures = tmp_path / "results", tmp_path / "captures"
    settings = f'[recording]\nfolder = "{captures}"\nquota_gib = 0.1\n'
    with station(tmp_path, f'folder = "{results}"', settings) as at:
        victim = pids(at)[0]

        def kill(sent: int) -> None:
            if sent == 150:
                os.kill(victim, signal.SIGKILL)

        at.send(at.simulation(300), 300.0, kill)
        starts, checksums, ended = notices(at, 90)
        assert len(starts) == 1
        published = told(checksums)
        assert len(published) == ended.account["published"] == ended.arrivals["received"]
        assert (ended.arrivals["duplicate"], ended.account["failed"]) == (0, {})
        assert ended.arrivals["missing"] == 300 - len(published)  # those that ZeroMQ still had for it
        assert sorted(path.name for path in captures.iterdir()) == [f"worker-{number}" for number in (1, 2, 3)]
        wait_for_worker(at, 1)
        at.send(at.simulation(90, 2))
        assert notices(at)[2].verdict == "complete"
    assert check_rows(the_only(results, "*series-1*.h5"), 300, published) == published


def test_what_the_controller_says_holds_for_all_workers(tmp_path: Path):
    with station(tmp_path) as at, Controller(at.ctx, at.addresses["handshake"], 10) as controller:
        messages = list(at.simulation(500).messages())
        for message in messages[: 1 + 60]:
            assert at.detector.send(message.parts, 5000)

        def there() -> bool:
            now = controller.account("det", 1, "check")
            return now is not None and now.account["published"] == 60

        wait_until(there, "60 results in the account")
        assert controller.triggered("det", 1, 60)
        assert at.detector.send(messages[-1].parts, 5000)
        _, checksums, ended = notices(at)
        assert told(checksums) == set(range(60))
        assert (ended.verdict, ended.reason, ended.arrivals["expected"]) == ("complete", "end", 60)
        assert not controller.triggered("det", 1, 61)


def test_a_stop_accounts_for_what_is_open_and_ends_everything(tmp_path: Path):
    with station(tmp_path) as at:
        everyone = [Watched(pid) for pid in (at.addresses["pid"], at.addresses["gather"], *pids(at))]
        for message in list(at.simulation(500).messages())[: 1 + 90]:
            assert at.detector.send(message.parts, 5000)
        time.sleep(0.5)
        os.kill(at.addresses["pid"], signal.SIGTERM)
        _, checksums, ended = notices(at)
        assert told(checksums) == set(range(ended.account["published"]))
        assert (ended.verdict, ended.reason) == ("incomplete", "shutdown")
        assert ended.account["published"] + ended.arrivals["missing"] == 500
        wait_until(lambda: all(process.gone for process in everyone), "the end of all processes")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": "simplon-v1"}, "stream-v2"),
        ({"extra": "bind = true"}, "only one process can bind"),
        ({"extra": 'socket = "sub"'}, "every frame"),
        ({"extra": 'share = "1/2"'}, "leave it out"),
    ],
)
def test_what_cannot_be_shared_is_refused(tmp_path: Path, changes: dict[str, str], says: str):
    protocol = changes.get("protocol", "stream-v2")
    config = CONFIG.format(protocol=protocol, address="tcp://127.0.0.1:9", memory_mib=4)
    file = tmp_path / "edge.toml"
    file.write_text(config.replace("memory_mib = 4", f"memory_mib = 4\n{changes.get('extra', '')}"))
    line = [sys.executable, "-P", "-m", "edge", "serve", "-c", str(file), "--workers", "2"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert done.returncode == os.EX_CONFIG
    assert says in done.stderr


def test_when_the_gathering_process_is_killed_everything_goes_on_from_the_captures(tmp_path: Path):
    results, captures = tmp_path / "results", tmp_path / "captures"
    settings = f'[recording]\nfolder = "{captures}"\nquota_gib = 0.1\n'
    with station(tmp_path, f'folder = "{results}"', settings) as at:
        messages = list(at.simulation(300).messages())
        for message in messages[: 1 + 100]:
            assert at.detector.send(message.parts, 5000)

        def published() -> bool:
            received = at.results.receive(0.1)
            if received is not None and isinstance(received[0], Result):
                came.add(received[0].image_id)
            return len(came) == 100

        came: set[int] = set()
        wait_until(published, "100 results")
        os.kill(at.addresses["gather"], signal.SIGKILL)
        everyone = [Watched(pid) for pid in pids(at)]
        wait_until(lambda: all(process.gone for process in everyone), "the end of the workers")
        wait_for_worker(at, 0)  # at the same addresses
        for message in messages[1 + 100 :]:
            assert at.detector.send(message.parts, 5000)
        _, checksums, ended = notices(at)
        assert told(checksums) | came == set(range(300))
        assert (ended.verdict, ended.arrivals["received"]) == ("complete", 300)
    assert check_rows(the_only(results, "*series-1*.h5"), 300, set(range(300))) == set(range(300))


@pytest.mark.parametrize("who", ["worker", "gather"])
def test_a_process_that_stands_still_for_a_while_loses_nothing(tmp_path: Path, who: str):
    with station(tmp_path) as at:
        held = pids(at)[2] if who == "worker" else at.addresses["gather"]

        def hold(sent: int) -> None:
            if sent == 100:
                os.kill(held, signal.SIGSTOP)

        try:
            at.send(at.simulation(300), 600.0, hold)
            time.sleep(1.5)  # three times the grace period
        finally:
            os.kill(held, signal.SIGCONT)
        _, checksums, ended = notices(at)
        assert told(checksums) == set(range(300))
        assert (ended.verdict, ended.arrivals["received"]) == ("complete", 300)
