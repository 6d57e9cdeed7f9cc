"""Keys on real sockets: who may connect does, and everybody else gets nothing, is counted and logged."""

import json
import logging
import os
import re
import socket as tcp
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import zmq

from streams import sockets
from streams.sockets import Keys, Socket, SocketError, context, keymaking, read_keys
from tests.system.tees import running_tee
from tests.system.witness import eventually

WAIT_MS = 20_000
QUIET_MS = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A service with the clients `maps` and `gone`, of which the latter was revoked, and a stranger's service."""
    folder = tmp_path_factory.mktemp("site")
    for service in ("keys", "stranger"):
        keymaking.make_service(folder / service)
    for client in ("maps", "gone"):
        keymaking.make_client(folder / "keys", client, folder / client)
    keymaking.revoke(folder / "keys", "gone")
    return folder


@contextmanager
def publishing(keys: Keys | None) -> Iterator[tuple[Socket, str]]:
    with context(keys=keys) as ctx:
        publisher = sockets.publish(ctx)
        yield publisher, publisher.bind("tcp://127.0.0.1:*")
        publisher.close()


@contextmanager
def subscribed(keys: Keys | None, address: str, topic: bytes = b"") -> Iterator[Socket]:
    with context(keys=keys) as ctx:
        subscriber = sockets.subscribe(ctx, [topic])
        _ = subscriber.peers
        subscriber.connect(address)
        yield subscriber
        subscriber.close()


def refusals(socket: Socket) -> dict[str, int]:
    socket.peers.poll()
    return dict(socket.peers.refused)


def connected(socket: Socket, count: int = 1) -> bool:
    socket.peers.poll()
    return socket.peers.connected == count


def listening(publisher: Socket) -> bool:
    return publisher.receive(100) == [b"\x01"]


def test_the_right_key(site: Path) -> None:
    with publishing(read_keys(site / "keys")) as (publisher, address):
        for keys in (site / "maps", site / "keys"):  # a client, and another process of the service itself
            with subscribed(read_keys(keys), address) as subscriber:
                assert publisher.receive(WAIT_MS) == [b"\x01"]
                assert connected(publisher)
                assert publisher.send([b"", b"a result"])
                assert subscriber.receive(WAIT_MS) == [b"", b"a result"]
                eventually(lambda: connected(subscriber), "the subscriber sees its sender")
            assert publisher.receive(WAIT_MS) == [b"\x00"]
            eventually(lambda: connected(publisher, 0), "it has left")
        assert refusals(publisher) == {}


@pytest.mark.parametrize(
    ("who", "there", "here"),
    [
        (None, "mechanism", "mechanism"),  # no key
        ("gone", "not_allowed", "not_allowed"),
        ("stranger", "wrong_key", "no_handshake"),  # of another service: expects its key, too
    ],
)
def test_who_may_not_connect(
    site: Path, who: str | None, there: str, here: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with publishing(read_keys(site / "keys")) as (publisher, address):
        with subscribed(read_keys(site / who) if who else None, address) as subscriber:
            eventually(lambda: (refusals(subscriber), refusals(publisher).get(there))[1], "it was refused")
            eventually(lambda: refusals(subscriber).get(here), "and knows why")
            assert set(refusals(publisher)) <= {there, "no_handshake"}  # it may hang up first
            assert publisher.send([b"", b"a result"])
            assert subscriber.receive(QUIET_MS) is None
            assert publisher.receive() is None  # nor was its subscription heard
            assert not publisher.peers.connected
            assert subscriber.peers.why()
        with subscribed(read_keys(site / "maps"), address):
            assert publisher.receive(WAIT_MS) == [b"\x01"]
    assert sockets.REASONS[there] in caplog.text
    if who == "gone":
        assert f"refused for their key; the last from 127.0.0.1: its key {read_keys(site / who).public.decode()}" in (
            caplog.text
        )
    assert all(secret.decode() not in caplog.text for secret in secrets(site))


def secrets(site: Path) -> list[bytes]:
    return [read_keys(site / name).secret for name in ("keys", "stranger", "maps", "gone")]


def test_a_key_with_the_wrong_server(site: Path) -> None:
    """A client that may connect does not speak to somebody else who answers at the address."""
    stranger, client = read_keys(site / "stranger"), read_keys(site / "maps")
    with publishing(stranger) as (publisher, address), subscribed(client, address) as subscriber:
        eventually(lambda: refusals(publisher).get("wrong_key"), "it was refused")
        assert publisher.send([b"", b"a lie"])
        assert subscriber.receive(QUIET_MS) is None


def test_an_encrypting_client_and_a_plain_server(site: Path) -> None:
    with publishing(None) as (publisher, address), subscribed(read_keys(site / "maps"), address) as subscriber:
        eventually(lambda: refusals(subscriber).get("mechanism"), "it does not speak in plain")
        assert publisher.send([b"", b"a result"])
        assert subscriber.receive(QUIET_MS) is None


def test_keys_are_made_and_revoked_while_it_runs(site: Path, tmp_path: Path) -> None:
    with publishing(read_keys(site / "keys")) as (publisher, address):
        keymaking.make_client(site / "keys", "late", tmp_path / "late")
        keys = read_keys(tmp_path / "late")
        with subscribed(keys, address):
            assert publisher.receive(WAIT_MS) == [b"\x01"]
        assert publisher.receive(WAIT_MS) == [b"\x00"]
        keymaking.revoke(site / "keys", "late")
        with subscribed(keys, address):
            eventually(lambda: refusals(publisher) == {"not_allowed": 1}, "it was refused")


def test_each_direction_and_kind_of_socket(site: Path) -> None:
    service, client = read_keys(site / "keys"), read_keys(site / "maps")
    with context(keys=service) as there, context(keys=client) as here:
        router, dealer = sockets.router(there), sockets.dealer(here)
        dealer.connect(router.bind("tcp://127.0.0.1:*"))
        assert dealer.send([b"hello"], WAIT_MS)
        peer, _ = router.receive(WAIT_MS) or (None, None)
        assert peer is not None
        assert router.send([bytes(peer), b"welcome"])
        assert dealer.receive(WAIT_MS) == [b"welcome"]
        for pattern in ("pull", "sub", "req"):
            sending, source = sockets.detector(there, pattern), sockets.source(here, pattern)
            source.connect(sending.bind("tcp://127.0.0.1:*"))
            sent = threading.Thread(target=sending.send, args=([b"frame"], WAIT_MS))
            sent.start()
            assert source.receive(WAIT_MS) == [b"frame"], pattern
            sent.join()
            source.peers.poll()
            assert source.peers.connected == 1
            for each in (sending, source):
                each.close()


def test_plain_where_the_other_end_cannot_encrypt(site: Path) -> None:
    with context(keys=read_keys(site / "keys")) as ctx, context() as detector:
        push, source = sockets.push(detector), sockets.source(ctx, "pull")
        source.connect(push.bind("tcp://127.0.0.1:*"), plain=True)
        assert push.send([b"frame"], WAIT_MS)
        assert source.receive(WAIT_MS) == [b"frame"]


def test_beyond_this_machine_without_keys() -> None:
    with context() as ctx:
        publisher, asking, pull = sockets.publish(ctx), sockets.source(ctx, "req"), sockets.pull(ctx)
        with pytest.raises(SocketError, match="edge keys new"):
            publisher.bind("tcp://*:*")
        with pytest.raises(SocketError, match="plain = true, or --plain"):
            asking.connect("tcp://10.0.0.1:4545")
        assert pull.bind("tcp://*:*", plain=True).startswith("tcp://0.0.0.0:")


def test_who_is_present(site: Path) -> None:
    """A subscriber's topics come and go with it, however it goes."""
    with publishing(read_keys(site / "keys")) as (publisher, address), ExitStack() as stack:
        leaving = stack.enter_context(subscribed(read_keys(site / "maps"), address, b"maps"))
        stack.enter_context(subscribed(read_keys(site / "maps"), address, b"tomo"))
        assert {bytes((publisher.receive(WAIT_MS) or [b""])[0]) for _ in range(2)} == {b"\x01maps", b"\x01tomo"}
        leaving.close()
        assert publisher.receive(WAIT_MS) == [b"\x00maps"]
        assert publisher.receive(QUIET_MS) is None


def test_a_slow_subscriber_is_not_waited_for() -> None:
    with context() as ctx:
        publisher = sockets.publish(ctx, high_water_mark=10)
        slow = sockets.subscribe(ctx, [b""], high_water_mark=10)
        slow.connect(publisher.bind("tcp://127.0.0.1:*"))
        assert publisher.receive(WAIT_MS) == [b"\x01"]
        result = bytes(1 << 16)
        assert all(publisher.send([result]) for _ in range(2_000))
        got = 0
        while slow.receive(QUIET_MS) is not None:
            got += 1
        assert 10 <= got < 2_000


@pytest.mark.parametrize("keyed", [False, True])
def test_half_open_and_hostile_connections_are_closed(site: Path, keyed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever says nothing or nonsense is put out, others are served meanwhile, and all descriptors come back.

    In plain, what does not begin as ZMTP 3 does is taken for ZMTP 1, which has no handshake that could fail.
    """
    monkeypatch.setattr("streams.sockets.socket.HANDSHAKE_MS", 500)
    keys, client = (read_keys(site / "keys"), read_keys(site / "maps")) if keyed else (None, None)
    with publishing(keys) as (publisher, address):
        before = descriptors()
        port = int(address.rpartition(":")[2])
        with ExitStack() as stack:
            for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x7f" * 300, b"\xff" + bytes(8) + b"\x7f\x03"):
                for _ in range(25):
                    hostile = stack.enter_context(tcp.create_connection(("127.0.0.1", port)))
                    hostile.sendall(nonsense)
            with subscribed(client, address):
                eventually(lambda: listening(publisher), "others are served")
            out = 100 if keyed else 50
            eventually(lambda: sum(refusals(publisher).values()) >= out, "they were put out")
            assert set(refusals(publisher)) <= {"protocol", "no_handshake"}
            assert connected(publisher, 0)
        eventually(lambda: descriptors() <= before, "the descriptors are back")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_context_with_keys_leaves_nothing_behind(site: Path) -> None:
    before, threads = descriptors(), threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            with publishing(read_keys(site / "keys")) as (_, address), subscribed(read_keys(site / "maps"), address):
                pass
            with context(keys=read_keys(site / "keys")) as ctx:  # left without closing what is open
                sockets.router(ctx).bind("tcp://127.0.0.1:*")
    assert threading.active_count() == threads
    assert descriptors() <= before


def test_without_a_doorkeeper_nobody_is_let_in(site: Path) -> None:
    """Should the thread that vouches for clients end, they are refused, not let in."""
    with publishing(read_keys(site / "keys")) as (publisher, address):
        authenticator = publisher.ctx._authenticator
        assert authenticator is not None
        authenticator.stop()
        with subscribed(read_keys(site / "maps"), address) as subscriber:
            eventually(lambda: refusals(publisher), "it was refused")
            assert publisher.send([b"", b"a result"])
            assert subscriber.receive(QUIET_MS) is None


def test_a_copy_of_the_tee_is_encrypted_and_the_writers_is_not(site: Path) -> None:
    """Detector and writer cannot encrypt, `edge serve` can: each gets what it needs of one process."""
    with context() as plain, context(keys=read_keys(site / "maps")) as keyed:
        push, writer, copy = sockets.push(plain, 1), sockets.pull(plain), sockets.source(keyed, "pull")
        with running_tee(push.bind("tcp://127.0.0.1:*"), "--keys", str(site / "keys")) as tee:
            with subscribed(None, tee.copy) as stranger:
                eventually(lambda: refusals(stranger).get("mechanism"), "nobody reads it without a key")
            writer.connect(tee.writer)
            copy.connect(tee.copy)
            eventually(lambda: connected_source(copy), "the copy is connected")
            assert push.send([b"frame"], WAIT_MS)
            assert writer.receive(WAIT_MS) == [b"frame"]
            assert copy.receive(WAIT_MS) == [b"frame"]
            tee.finish()


def connected_source(source: sockets.Receiving) -> bool:
    source.peers.poll()
    return source.peers.connected == 1


def test_replay_and_record_with_keys(site: Path, tmp_path: Path) -> None:
    """What one command sends with keys, another one records with keys."""
    np.save(tmp_path / "scan.npy", np.zeros((5, 8, 8), np.uint16))
    arguments = [str(tmp_path / "scan.npy"), "--bind", "tcp://127.0.0.1:*", "--keys", str(site / "keys")]
    replay = subprocess.Popen([sys.executable, "-m", "edge", "replay", *arguments], stderr=subprocess.PIPE, text=True)
    try:
        assert replay.stderr is not None
        address = next(filter(None, re.findall(r"tcp://127\.0\.0\.1:\d+", replay.stderr.readline())))
        record = ["--protocol", "simplon-v1", "--connect", address, "--keys", str(site / "maps")]
        done = subprocess.run(
            [sys.executable, "-m", "edge", "record", *record, "--messages", "7", "--json", str(tmp_path / "capture")],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert replay.wait(60) == 0
    finally:
        replay.kill()
        replay.communicate()
    assert json.loads(done.stdout)["messages"] == 7, done.stderr


def test_a_source_comes_back_from_what_was_none() -> None:
    """ZeroMQ never again connects to a peer that broke the protocol; a detector may be there the next time."""
    with context() as ctx, tcp.create_server(("127.0.0.1", 0)) as impostor:
        address = f"tcp://127.0.0.1:{impostor.getsockname()[1]}"
        source, push = sockets.source(ctx, "pull"), sockets.push(ctx)
        source.connect(address)
        visitor, _ = impostor.accept()
        visitor.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NOTHING" + bytes(60))
        eventually(lambda: (source.peers.poll(), source.peers.refused)[1], "it was no detector")
        visitor.close()
        impostor.close()
        eventually(lambda: bound(push, address), "the detector has its port")
        eventually(lambda: connected_source(source), "it is connected")
        assert push.send([b"frame"], WAIT_MS)
        assert source.receive(WAIT_MS) == [b"frame"]


def bound(socket: Socket, address: str) -> bool:
    try:
        return bool(socket.bind(address))
    except SocketError:  # the port is freed a moment later
        return False


def test_a_client_is_let_in_as_soon_as_its_key_is(site: Path, tmp_path: Path) -> None:
    with publishing(read_keys(site / "keys")) as (publisher, address):
        allows = keymaking.make_client(site / "keys", "early", tmp_path / "early")
        allows.rename(tmp_path / "early.key")
        with subscribed(read_keys(tmp_path / "early"), address) as subscriber:
            eventually(lambda: (refusals(subscriber), refusals(publisher))[1], "it was refused")
            (tmp_path / "early.key").rename(allows)
            eventually(lambda: refusals(subscriber) and listening(publisher), "it is let in")
        keymaking.revoke(site / "keys", "early")


def test_zmq_can_encrypt() -> None:
    """Every wheel of pyzmq brings CURVE; a system's own libzmq may not."""
    assert zmq.has("curve")
