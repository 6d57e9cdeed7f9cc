"""The agent as a process: killed under a running plan, talked to by hostile peers, stopped, started twice."""

import json
import os
import signal
import socket as tcp
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgpack
import pytest
import zmq

from edge.agent.messages import Observation
from edge.agent.optimizer import PLANNED
from edge.agent.options import Options
from edge.agent.service import AgentService
from edge.agent.space import Axis, Space
from edge.experiment.plans import adaptive_map
from edge.experiment.settings import MapSettings, Monitor
from edge.steering.client import PATIENCE, Patience, RemoteAgent, ping
from edge.steering.conversation import AgentGone, AgentRefused
from edge.steering.log import Learned, Observed, Suggested, read
from edge.steering.words import definition
from streams.bounds import MAX_REQUEST_BYTES
from streams.sockets import Keys, keymaking, read_keys
from tests.system.witness import eventually
from tests.unit.experiment.beamline import Counter, Detector, Documents, Motor, run_engine

SPACE = Space((Axis("x", 0.0, 1.0), Axis("y", 0.0, 1.0)))
POINTS = 40
KILLED_AT = (8, 20, 21)
"""Points: while the agent follows its start, and when it has planned all that is left."""
PLANNED_AT = 15
OPTIONS = Options(points=POINTS, start_points=10)
WAIT_S = 60.0

CONFIG = """
[[source]]
name = "det"
protocol = "stream-v2"
address = "tcp://127.0.0.1:9"

[[route]]
name = "check"
model = "identity"
pixel_bits = [16]

[agent]
listen = "{address}"
folder = {folder}

[security]
keys = {keys}
"""


class Service:
    """`edge agent serve` in a folder of its own, at an address that it keeps when it is started again."""

    def __init__(self, folder: Path, keys: Path | str = "") -> None:
        self.folder, self.logs = folder, folder / "agent"
        with tcp.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self.config = folder / "edge.toml"
        quoted = {"folder": json.dumps(str(self.logs)), "keys": json.dumps(str(keys))}
        self.config.write_text(CONFIG.format(address=self.address, **quoted))
        self.process = self._begin()

    def _begin(self) -> "subprocess.Popen[str]":
        line = [sys.executable, "-P", "-m", "edge", "agent", "serve", "-c", str(self.config), "--json", "--stop-at-eof"]
        with (self.folder / "agent.log").open("a") as log:
            return subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)

    def is_ready(self) -> None:
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline()) == {"agent": self.address}

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def again(self) -> None:
        """As a supervisor does."""
        self.process = self._begin()

    def end(self) -> int:
        """Close its standard input, as a supervisor that ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._ended()

    def _ended(self) -> int:
        code = self.process.wait(WAIT_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        return code

    def said(self) -> str:
        return (self.folder / "agent.log").read_text()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One for all tests that only talk to it."""
    made = Service(tmp_path_factory.mktemp("service"))
    made.is_ready()
    yield made
    assert made.end() == 0
    assert "Traceback" not in made.said()


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Service]:
    """One for a test that kills it."""
    made = Service(tmp_path)
    made.is_ready()
    yield made
    if made.process.poll() is None:
        made.end()
    assert "Traceback" not in made.said()


def remote(service: Service, name: str, patience: Patience = PATIENCE, keys: Keys | None = None) -> RemoteAgent:
    return RemoteAgent(service.address, name, SPACE, seed=2, options=OPTIONS, patience=patience, keys=keys)


def entries(service: Service, name: str) -> tuple[list[str], list[Observation]]:
    """Ids of all suggestions, and all observations, from the log."""
    _, found = read(service.logs / f"{name}.agentlog")
    suggested = [one.id for entry in found if isinstance(entry, Suggested) for one in entry.suggestions]
    observed = [one.meant() for entry in found if isinstance(entry, Observed) for one in entry.observations]
    return suggested, observed


def learned(service: Service, name: str) -> bool:
    return any(isinstance(entry, Learned) for entry in read(service.logs / f"{name}.agentlog")[1])


def answers(service: Service, name: str, points: range, agent: RemoteAgent) -> list[str]:
    """Measure these points; the ids of what was suggested."""
    ids = []
    for at in points:
        (suggestion,) = agent.request(f"run/{at}").result(WAIT_S)
        x, y = suggestion.position["x"], suggestion.position["y"]
        agent.ingest([Observation(f"o{at}", {"x": x, "y": y}, x * y, 1e-4, suggestion.id)]).result(WAIT_S)
        ids.append(suggestion.id)
    return ids


def test_a_plan_goes_on_while_the_service_is_killed_and_comes_back(mortal: Service):
    motors = [Motor("x"), Motor("y")]
    detector, monitor = Detector(motors), Counter()
    documents = Documents()
    first_pid = mortal.process.pid

    def killed(name: str, document: dict) -> None:
        if name != "event" or "i0" not in document["data"]:
            return
        if document["seq_num"] == PLANNED_AT:
            eventually(lambda: learned(mortal, "map"), "it has learned length scales")
        if document["seq_num"] in KILLED_AT:
            mortal.kill()
            mortal.again()

    # No fallback positions: each point is one that the agent suggested.
    settings = MapSettings(monitor=Monitor(monitor, lower_limit=100.0), suggest_timeout_s=WAIT_S)
    with run_engine() as engine, remote(mortal, "map") as agent:
        plan = adaptive_map(detector, motors, agent, POINTS, settings=settings)
        assert engine(plan, [documents, killed]).exit_status == "success"
        agent.abandon(["map-0"]).result(WAIT_S)  # behind all that was said before
    pong = ping(mortal.address, timeout_s=WAIT_S)
    assert pong is not None and pong.pid != first_pid
    documents.check()
    suggested, observed = entries(mortal, "map")
    assert len(suggested) == len(set(suggested)) == POINTS
    uid = documents.of("start")[0]["uid"]
    assert [one.id for one in observed] == [f"{uid}/{number + 1}" for number in range(POINTS)]
    assert [one.suggestion_id for one in observed] == suggested
    shown = [(one["data"]["x"], one["data"]["y"]) for one in documents.events("primary")]
    assert [tuple(one.position.values()) for one in observed] == shown
    assert documents.events("rejected") == []
    assert detector.triggers == POINTS
    reasons = {one["data"]["suggestion_acquisition"] for one in documents.events("suggestions")}
    assert reasons == {"start", PLANNED}


def test_what_was_answered_before_a_kill_is_answered_again_and_goes_on(mortal: Service):
    with remote(mortal, "map") as agent:
        before = answers(mortal, "map", range(5), agent)
        (pending,) = agent.request("run/5").result(WAIT_S)
        mortal.kill()
        waiting = agent.request("run/6")
        mortal.again()
        assert waiting.result(WAIT_S)[0].id == "map-7"
        with remote(mortal, "map") as another:  # which knows nothing of the first but the keys
            keys = [f"run/{at}" for at in range(7)]
            again = [another.request(key).result(WAIT_S)[0].id for key in keys]
            assert again == [*before, pending.id, "map-7"]


def test_a_service_that_is_not_there_is_an_error_after_a_while(mortal: Service):
    mortal.kill()
    with remote(mortal, "map", Patience(ask_s=0.2, tell_s=0.2, close_s=0.2)) as agent:
        futures = [agent.request("run/1"), agent.ingest([Observation("o", {"x": 0.5, "y": 0.5}, 1.0, 1.0)])]
        for future in futures:
            with pytest.raises(AgentGone, match="no answer"):
                future.result(WAIT_S)
        again = agent.request("run/1")
        assert again is not futures[0], "after an error it is asked again"
    with pytest.raises(RuntimeError, match="closed"):
        agent.request("run/2")
    assert again.done(), "closing leaves nobody waiting"


def test_it_answers_as_the_agent_in_this_process_does(service: Service):
    local = definition(SPACE, 2, OPTIONS).agent("alike")
    with AgentService(local) as mine, remote(service, "alike") as theirs:
        for at in range(8):  # before the first training, whose end is a matter of time
            (left,), (right,) = (one.request(f"run/{at}").result(WAIT_S) for one in (mine, theirs))
            assert repr(left) == repr(right)
            seen = Observation(f"o{at}", left.position, float(at), 0.1, left.id)
            for one in (mine, theirs):
                one.ingest([seen]).result(WAIT_S)
        many = [Observation(f"m{at}", {"x": at / 100, "y": 0.5}, 1.0, 1.0) for at in range(100)]
        theirs.ingest(many).result(WAIT_S)
        far = Observation("far", {"x": 99.0, "y": 0.5}, 1.0, 1.0)
        for one in (mine, theirs):
            with pytest.raises(ValueError, match="far outside"):
                one.ingest([far]).result(WAIT_S)
    assert len(entries(service, "alike")[1]) == 108


def test_an_experiment_is_not_opened_with_another_space(service: Service):
    with remote(service, "taken") as agent:
        answers(service, "taken", range(1), agent)
    other = Space((Axis("x", 0.0, 2.0), Axis("y", 0.0, 1.0)))
    with (
        RemoteAgent(service.address, "taken", other) as agent,
        pytest.raises(AgentRefused, match="choose another name"),
    ):
        agent.request("run/1").result(WAIT_S)


def hostile_messages() -> list[list[bytes]]:
    opening = {"op": "open", "number": 1, "experiment": "../../etc/passwd", "definition": {}}
    return [
        [b""],
        [b"\xc1"],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\x91" * 4000],
        [b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94."],  # a pickle
        [b"a", b"b"],
        [b"x"] * 100,
        [msgpack.packb(opening)],
        [msgpack.packb({"op": "request", "number": 1, "experiment": "map", "key": "k", "n": 1 << 40})],
        [msgpack.packb({"op": "run", "number": 1, "code": "import os"})],
    ]


def test_hostile_messages_are_answered_counted_and_harm_nobody(service: Service):
    before = ping(service.address, timeout_s=WAIT_S)
    assert before is not None
    host, port = service.address.removeprefix("tcp://").split(":")
    half_open = [tcp.create_connection((host, int(port))) for _ in range(20)]
    with tcp.create_connection((host, int(port))) as rude:
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(100_000))
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(service.address)
    for parts in hostile_messages():
        dealer.send_multipart(parts)
        assert dealer.poll(WAIT_S * 1000), parts
        assert msgpack.unpackb(dealer.recv())["op"] == "failed"
    dealer.send(bytes(MAX_REQUEST_BYTES + 1))  # ZeroMQ hangs up on such
    context.destroy(linger=0)
    after = ping(service.address, timeout_s=WAIT_S)
    assert after is not None and after.pid == before.pid
    assert after.counts["malformed"] - before.counts.get("malformed", 0) == len(hostile_messages())
    for one in half_open:
        one.close()
    with remote(service, "unharmed") as agent:
        assert answers(service, "unharmed", range(3), agent) == ["unharmed-1", "unharmed-2", "unharmed-3"]
    assert sorted(path.suffix for path in service.logs.iterdir() if path.name != ".lock") == sorted(
        ".agentlog" for _ in service.logs.glob("*.agentlog")
    ), "nothing else is written"


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-P", "-m", "edge", "agent", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=WAIT_S)


def test_the_commands_say_what_is_wrong(service: Service, tmp_path: Path):
    pinged = run("ping", service.address, "--json")
    assert (pinged.returncode, json.loads(pinged.stdout)["pid"]) == (0, service.process.pid)
    second = run("serve", "-c", str(service.config))
    assert (second.returncode, "another `edge agent serve`" in second.stderr) == (1, True)
    nowhere = tmp_path / "edge.toml"
    nowhere.write_text(CONFIG.format(address="", folder='""', keys='""'))
    unset = run("serve", "-c", str(nowhere))
    assert (unset.returncode, "agent.listen is not set" in unset.stderr) == (os.EX_CONFIG, True)


def test_sigterm_ends_it_in_order_and_nobody_answers_then(mortal: Service):
    with remote(mortal, "map", Patience(close_s=0.5)) as agent:
        answers(mortal, "map", range(2), agent)
        mortal.process.send_signal(signal.SIGTERM)
        assert mortal._ended() == 0
    assert len(entries(mortal, "map")[1]) == 2
    assert ping(mortal.address, timeout_s=0.3) is None


def test_only_who_has_a_key_is_answered(tmp_path: Path):
    keymaking.make_service(tmp_path / "keys")
    keymaking.make_client(tmp_path / "keys", "plan", tmp_path / "plan")
    service = Service(tmp_path, tmp_path / "keys")
    service.is_ready()
    assert ping(service.address, timeout_s=0.5) is None
    keys = read_keys(tmp_path / "plan")
    with remote(service, "map", keys=keys) as agent:
        assert answers(service, "map", range(2), agent) == ["map-1", "map-2"]

    def refused() -> bool:
        pong = ping(service.address, keys, WAIT_S)
        return pong is not None and any(name.startswith("refused_") for name in pong.counts)

    eventually(refused, "the one without a key was counted")
    assert service.end() == 0
