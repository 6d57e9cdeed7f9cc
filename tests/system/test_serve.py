"""`edge serve` with the real Triton: every frame that was sent comes back as its own checksum."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from edge.demo.children import ChildError, data_plane
from edge.models.identity import checksum
from streams.codecs import ANNOUNCED
from streams.messages import Compression
from streams.simulation.simulator import Faults
from streams.sockets import context, push
from tests.system.serving import CONFIG, alive, descendants, image, shared_memory, station, wait_until

pytestmark = pytest.mark.usefixtures("triton")


def right(ids, shape=(12, 10)) -> dict[int, list[int]]:
    return {i: checksum(image(i, shape)).tolist() for i in ids}


@pytest.mark.parametrize("protocol", sorted(ANNOUNCED))
def test_every_frame_comes_back_as_its_own(protocol, tmp_path):
    with station(tmp_path, protocol) as at:
        assert at.send(at.simulation(300)) == 300
        results, checksums, ended = at.collect()
        assert checksums == right(range(300))
        assert results[7].position == {"row": 14.0, "col": 15.0}
        assert (ended.verdict, ended.reason) == ("complete", "end")
        assert ended.arrivals["expected"] == ended.arrivals["received"] == ended.account["published"] == 300
        assert 0 < ended.latency_ms["p50"] <= ended.latency_ms["p99"]

        # another shape, another encoding: the memory is carved anew
        at.send(at.simulation(40, number=2, shape=(33, 17), compression=Compression.NONE))
        _, checksums, ended = at.collect()
        assert checksums == right(range(40), (33, 17))
        assert ended.verdict == "complete"

        text = urllib.request.urlopen(at.addresses["metrics"], timeout=5).read().decode()
        assert 'edge_frames_settled_total{outcome="published",reason="",route="check"} 340.0' in text
        assert 'edge_result_latency_seconds_bucket{le="+Inf",route="check"} 340.0' in text
        assert 'edge_series_closed_total{route="check",verdict="complete"} 2.0' in text
        assert "edge_server_ready 1.0" in text


def test_memory_smaller_than_the_stream_loses_nothing(tmp_path):
    """1 MiB holds four of these frames: the detector waits, as `block` promises."""
    with station(tmp_path, memory_mib=1) as at:
        at.send(at.simulation(60, shape=(256, 500), compression=Compression.LZ4_HDF5))
        _, checksums, ended = at.collect()
        assert checksums == right(range(60), (256, 500))
        assert ended.verdict == "complete"


def test_faults_of_the_detector_are_told_exactly(tmp_path):
    with station(tmp_path) as at:
        faults = Faults(lost=frozenset({3, 4}), repeated=frozenset({6}), corrupted=frozenset({8}))
        at.send(at.simulation(20, faults=faults))
        _, checksums, ended = at.collect()
        assert checksums == right(set(range(20)) - {3, 4, 8})
        assert ended.verdict == "incomplete"
        assert ended.arrivals["duplicate"] == 1
        assert ended.arrivals["missing"] + sum(ended.account["failed"].values()) == 3


def test_bad_messages_are_survived_and_counted(tmp_path):
    with station(tmp_path) as at:
        messages = list(at.simulation(30).messages())
        garbage = [[b""], [b"\0" * 1000], [b"{}"] * 4, [b"\xd9\xd9\xf7" + b"\x9b" + b"\xff" * 8], [b"a"] * 300]
        for number, message in enumerate(messages):
            assert at.detector.send(garbage[number % len(garbage)], 5000)
            assert at.detector.send(message.parts, 5000)
        _, checksums, ended = at.collect()
        assert checksums == right(range(30))
        assert ended.verdict == "complete"
        text = urllib.request.urlopen(at.addresses["metrics"], timeout=5).read().decode()
        counted = [line for line in text.splitlines() if line.startswith("edge_messages_malformed_total")]
        assert sum(float(line.split()[-1]) for line in counted) == len(messages)


def test_frames_the_route_cannot_take_fail_and_the_next_series_flows(tmp_path):
    with station(tmp_path) as at:
        at.send(at.simulation(5, dtype="uint32"))
        results, _, ended = at.collect()
        assert results == {}
        assert (ended.verdict, ended.account["failed"]) == ("incomplete", {"wrong_dtype": 5})
        at.send(at.simulation(5, number=2))
        assert at.collect()[2].verdict == "complete"
    assert "pixel_bits" in (tmp_path / "serve.log").read_text()


def test_triton_killed_mid_scan_costs_no_frame(tmp_path):
    with station(tmp_path) as at:

        def kill(sent: int) -> None:
            if sent == 150:
                servers = [pid for pid, name in descendants(at.addresses["pid"]).items() if name == "tritonserver"]
                assert len(servers) == 1
                os.kill(servers[0], signal.SIGKILL)

        at.send(at.simulation(400), rate_hz=400, each=kill)
        _, checksums, ended = at.collect(60)
        assert checksums == right(range(400))
        assert ended.verdict == "complete"
        text = urllib.request.urlopen(at.addresses["metrics"], timeout=5).read().decode()
        assert "edge_server_starts_total 2.0" in text


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(signum, tmp_path):
    with station(tmp_path) as at:
        at.send(at.simulation(20))
        at.collect()
        family = {at.addresses["pid"], *descendants(at.addresses["pid"])}
        assert len(family) >= 3
        assert shared_memory(at.addresses["pid"])
        os.kill(at.addresses["pid"], signum)
        wait_until(lambda: not any(alive(pid) for pid in family), "the end of every process")
        wait_until(lambda: not shared_memory(at.addresses["pid"]), "the removal of shared memory")


def test_stopping_mid_series_publishes_the_account(tmp_path):
    with station(tmp_path) as at:
        messages = list(at.simulation(50).messages())
        for message in messages[:20]:
            assert at.detector.send(message.parts, 5000)
        seen = 0
        while seen < 19:
            seen += at.results.receive(10) is not None
        os.kill(at.addresses["pid"], signal.SIGTERM)
        _, _, ended = at.collect()
        assert (ended.reason, ended.verdict) == ("shutdown", "incomplete")
        assert ended.arrivals["received"] == ended.account["published"]


def test_a_triton_that_somebody_else_runs(tmp_path):
    """Its models are ready, but its control interface is closed to us: frames travel in the requests."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with station(tmp_path / "one") as host:
        url = re.search(r"answers at (\S+)", (tmp_path / "one" / "serve.log").read_text())
        assert url is not None
        with station(tmp_path / "two", settings=f'\n[server]\nurl = "{url[1]}"\n') as at:
            at.send(at.simulation(100))
            _, checksums, ended = at.collect()
            assert checksums == right(range(100))
            assert ended.verdict == "complete"
            assert "inline" in (tmp_path / "two" / "serve.log").read_text()
            assert descendants(at.addresses["pid"]) == {}
        host.send(host.simulation(10))
        assert host.collect()[2].verdict == "complete"  # the other one's stop did not touch it


def test_two_systems_side_by_side(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with station(tmp_path / "one") as one, station(tmp_path / "two", "simplon-v1") as two:
        for at in (one, two):
            at.send(at.simulation(50))
        assert one.collect()[1] == two.collect()[1] == right(range(50))


@pytest.mark.parametrize(
    ("setting", "said", "code"),
    [
        ("[metrics]\naddress = '127.0.0.1:{busy}'", "metrics", 1),
        ("[results]\nhandshake = 'tcp://127.0.0.1:{busy}'\npublish='tcp://127.0.0.1:*'", "in use", 1),
        ("[server]\nurl = '127.0.0.1:{busy}'\n[metrics]\naddress='127.0.0.1:0'", "127.0.0.1", 1),
        ("[source.options]\nverify = true\n[metrics]\naddress='127.0.0.1:0'", 'source "det": options', os.EX_CONFIG),
        ("[server]\npython = '/bin/false'\n[metrics]\naddress='127.0.0.1:0'", "/bin/false", 1),
    ],
)
def test_what_keeps_it_from_starting_is_one_clear_line(setting, said, code, tmp_path):
    with context() as ctx:
        other = push(ctx)
        busy = other.bind("tcp://127.0.0.1:*").rpartition(":")[2]
        head = CONFIG.partition("[results]")[0].format(protocol="stream-v2", address="tcp://127.0.0.1:1", memory_mib=1)
        if "[results]" not in setting:
            head += "[results]\npublish = 'tcp://127.0.0.1:*'\nhandshake = 'tcp://127.0.0.1:*'\n"
        (tmp_path / "edge.toml").write_text(head + setting.format(busy=busy))
        done = subprocess.run(
            [sys.executable, "-m", "edge", "serve", "-c", str(tmp_path / "edge.toml")],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == code
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "Traceback" not in done.stderr


def test_a_child_that_cannot_start_tells_its_parent_why(tmp_path):
    with (
        pytest.raises(ChildError, match='model = "nothing": there is no such model'),
        data_plane(
            CONFIG.replace("identity", "nothing").format(
                protocol="stream-v2", address="tcp://127.0.0.1:1", memory_mib=1
            ),
            tmp_path,
        ),
    ):
        pass
