"""What the serving loop sees of its surroundings: connections that settle, disks that fail, who is told."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.pipeline.disks import DiskWatch, trouble
from edge.pipeline.observing import RECENT_NS, Connection, Loss, Observer
from edge.pipeline.outside import Listening, Outside
from edge.pipeline.presence import Presence
from edge.pipeline.readiness import SETTLE_NS
from edge.pipeline.totals import Totals
from streams.codecs.handshake import Ready, presence_topic
from streams.ledger.lifecycle import State
from streams.routing import Route


class Peers:
    """The peers of a socket, as told."""

    def __init__(self, connected: int = 0) -> None:
        self.connected, self.disconnections, self.polls = connected, 0, 0
        self.refused: Counter[str] = Counter()

    def poll(self) -> None:
        self.polls += 1


def socket(connected: int = 0) -> Any:
    return SimpleNamespace(peers=Peers(connected), zmq=SimpleNamespace(EVENTS=0))


def settled(connection: Connection, now_ns: int) -> bool:
    connection.look(now_ns)
    return connection.facts(False, now_ns).settled


def test_a_connection_settles_and_a_break_that_nobody_saw_begins_anew():
    one = socket()
    connection = Connection(one, Listening("tcp://det:1"))
    assert not settled(connection, 0)
    one.peers.connected = 1
    assert [settled(connection, at) for at in (10, 10 + SETTLE_NS - 1, 10 + SETTLE_NS)] == [False, False, True]
    one.peers.disconnections = 1  # gone and back between two looks
    assert not settled(connection, 5 * SETTLE_NS) and settled(connection, 6 * SETTLE_NS)
    one.peers.connected = 0
    assert not settled(connection, 7 * SETTLE_NS)
    assert connection.facts(True, 0).recovering and connection.facts(True, 0).address == "tcp://det:1"


def test_strangers_that_come_and_go_at_a_bound_socket_unsettle_nothing():
    one = socket(1)
    connection = Connection(one, Listening("tcp://0.0.0.0:1", bound=True))
    connection.look(0)
    one.peers.disconnections = 7
    assert settled(connection, SETTLE_NS)


def test_a_loss_counts_for_a_while():
    loss, counts = Loss(), Counter(det=1)
    assert not Loss().look(Counter(), 0)
    assert loss.look(counts, 0) and loss.look(counts, RECENT_NS - 1)
    assert not loss.look(counts, RECENT_NS)
    counts["other"] += 1
    assert loss.look(counts, RECENT_NS)


class World:
    """An observer, and all that it looks at."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.disks: dict[str, str] = {}
        self.totals = Totals()
        self.totals.server_ready = True
        self.socket, self.publisher, self.ask = socket(1), socket(), socket()
        self.inlet = SimpleNamespace(socket=self.socket, recovering=False, recording=True)
        self.presence = Presence()
        self.presence.take([b"\x01" + presence_topic("maps")])
        states = (State.CLOSED, State.OPEN, State.ENDING)
        records = {str(state): SimpleNamespace(series=SimpleNamespace(state=state)) for state in states}
        intake: Any = SimpleNamespace(name="det", inlet=self.inlet, records=records)
        runner: Any = SimpleNamespace(route=Route("spots", "peaks"), spec=SimpleNamespace(name="peaks"))
        sink: Any = SimpleNamespace(
            publisher=self.publisher, ask=self.ask, presence=self.presence, origin="origin", keeps=False
        )
        outside = Outside(status=self.said.append, required=("maps",), disks=lambda: self.disks)
        self.observer = Observer([intake], [runner], sink, self.totals, outside)

    def look(self, now_ns: int) -> None:
        self.observer.look(now_ns)


def test_whether_it_is_ready_is_said_when_it_changes_and_entered_into_the_totals():
    world = World()
    assert [one.what for one in world.observer.problems] == ["starting"]
    for at in range(4):
        world.look(at * SETTLE_NS // 2)
    assert world.said == ["not ready: source 'det' was connected to its detector just now", "ready"]
    assert world.totals.ready and (world.totals.peers, world.totals.subscribers) == ({"det": 1}, 1)
    world.presence.take([b"\x00" + presence_topic("maps")])
    world.totals.server_ready, world.observer.lost = False, "it died"
    world.look(4 * SETTLE_NS)
    told = "not ready: model 'peaks' is not ready on the server: it died; subscriber 'maps' is not connected"
    assert world.said[2:] == [told] and not world.totals.ready
    assert [one.what for one in world.observer.problems] == ["model", "subscriber"]


def test_refusals_of_every_socket_are_counted():
    world = World()
    world.socket.peers.refused["protocol"], world.ask.peers.refused["not_allowed"] = 3, 2
    world.publisher.peers.refused["wrong_key"] = 1
    for at in range(2):
        world.look(at)
    expected = {("source det", "protocol"): 3, ("handshake", "not_allowed"): 2, ("results", "wrong_key"): 1}
    assert world.totals.connections_refused == expected
    assert all(one.peers.polls == 2 for one in (world.socket, world.ask, world.publisher))


def test_what_was_not_kept_and_what_a_disk_has_no_room_for():
    world = World()
    assert (world.observer.answer(Ready()).recording, world.observer.answer(Ready()).results) == ("ok", "off")
    world.totals.not_recorded["det"] += 1
    answer = world.observer.answer(Ready(token=5))
    assert answer.recording == "failing" and "recording" in [one.what for one in answer.problems]
    world.disks["recording"] = "/data has 0.0 MiB left"
    assert any("/data has 0.0 MiB left" in one.why for one in world.observer.answer(Ready()).problems)


def test_an_answer_says_what_else_is_known():
    world = World()
    world.inlet.recovering, world.observer.stopping = True, True
    answer = world.observer.answer(Ready("det", ("spots",), ("plan",), 7))
    assert (answer.source, answer.token, answer.origin) == ("det", 7, "origin")
    assert [one.what for one in answer.problems] == ["stopping", "connection", "recovery", "subscriber"]
    assert (answer.sources, answer.models, answer.subscribers) == ({"det": 1}, {"peaks": True}, ("maps",))
    assert (answer.series_open, answer.recovering, answer.stopping) == (2, ("det",), True)


def test_a_disk_is_full_missing_or_sound(tmp_path):
    assert trouble(tmp_path) == ""
    assert "MiB left" in trouble(tmp_path, low_bytes=1 << 80)
    assert trouble(tmp_path / "gone") == f"{tmp_path / 'gone'} is gone"
    (tmp_path / "file").write_text("")
    assert trouble(tmp_path / "file" / "below") == f"{tmp_path / 'file' / 'below'} cannot be reached: Not a directory"


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_disk_that_does_not_answer_is_said_for_as_long(tmp_path, monkeypatch: pytest.MonkeyPatch):
    watch, clock, said = DiskWatch({"recording": tmp_path, "results": tmp_path}), Clock(), []

    def hangs(folder: Path) -> str:
        said.append(dict(watch.problems()))
        clock.now += 10
        said.append(dict(watch.problems()))
        return ""

    monkeypatch.setattr("edge.pipeline.disks.time", clock)
    monkeypatch.setattr("edge.pipeline.disks.trouble", hangs)
    watch._stop.set()  # one look
    watch._run()
    text = f"the disk of {tmp_path} does not answer"
    assert said == [{}, {"recording": text}, {}, {"results": text}] and watch.problems() == {}


def test_a_watch_looks_at_every_folder(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("edge.pipeline.disks.LOOK_S", 0.001)
    watch = DiskWatch({"results": tmp_path, "recording": tmp_path / "gone"})
    watch._stop.set()  # one look
    watch._run()
    assert watch.problems() == {"recording": f"{tmp_path / 'gone'} is gone"}
    with DiskWatch({"results": Path("/")}) as other:
        assert other._thread.daemon
    other._thread.join(30)
    assert not other._thread.is_alive()
