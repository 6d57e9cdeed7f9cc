"""Who may be spoken to in plain: every kind of address, with and without keys."""

from pathlib import Path

import pytest

from streams.sockets import SocketError, beyond_loopback
from streams.sockets.keys import Keys
from streams.sockets.policy import security

SERVICE = Keys(Path("keys"), b"p" * 40, b"s" * 40, b"p" * 40, serves=True)
CLIENT = Keys(Path("maps-keys"), b"c" * 40, b"s" * 40, b"p" * 40, serves=False)
HERE = (
    "tcp://127.0.0.1:5600",
    "tcp://127.9.9.9:*",
    "tcp://localhost:1",
    "tcp://[::1]:5600",
    "tcp://10.0.0.1;127.0.0.1:5600",
    "inproc://x",
    "ipc:///tmp/x",
)
BEYOND = (
    "tcp://*:5600",
    "tcp://0.0.0.0:5600",
    "tcp://[::]:5600",
    "tcp://10.0.0.1:5600",
    "tcp://eth0:5600",
    "tcp://localhost.example.org:1",
    "tcp://127.0.0.1.example.org:1",
    "tcp://127.0.0.1;10.0.0.1:5600",
    "tcp://127.0.0.1",
)


@pytest.mark.parametrize("address", HERE)
def test_this_machine(address):
    assert not beyond_loopback(address)
    assert security("bind", address, None, plain=False) == "plain"
    assert security("connect", address, None, plain=False) == "plain"


@pytest.mark.parametrize("address", BEYOND)
@pytest.mark.parametrize("verb", ["bind", "connect"])
def test_beyond_it_nothing_is_plain_unless_asked_for(address, verb):
    assert beyond_loopback(address)
    with pytest.raises(SocketError, match=f"cannot {verb} .*edge keys new.*plain"):
        security(verb, address, None, plain=False)
    assert security(verb, address, None, plain=True) == "plain"


@pytest.mark.parametrize("address", (*HERE, *BEYOND))
def test_with_keys_all_is_encrypted_unless_asked_for(address):
    assert security("bind", address, SERVICE, plain=False) == "curve"
    assert security("connect", address, CLIENT, plain=False) == "curve"
    assert security("connect", address, SERVICE, plain=True) == "plain"


@pytest.mark.parametrize("address", ["udp://127.0.0.1:1", "epgm://eth0;239.192.1.1:5555", "nonsense", "", "TCP://x:1"])
@pytest.mark.parametrize("keys", [None, SERVICE])
@pytest.mark.parametrize("plain", [False, True])
def test_no_other_transport(address, keys, plain):
    assert beyond_loopback(address)
    with pytest.raises(SocketError, match="write tcp://HOST:PORT"):
        security("bind", address, keys, plain)


def test_a_client_has_nobody_to_let_in():
    with pytest.raises(SocketError, match="maps-keys holds a client's keys"):
        security("bind", "tcp://127.0.0.1:1", CLIENT, plain=False)
    assert security("bind", "tcp://127.0.0.1:1", CLIENT, plain=True) == "plain"


def test_a_secret_is_in_no_representation():
    assert "ssss" not in repr(SERVICE)


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:5600\0;127.0.0.1:1", "ipc:///tmp/x\0y", "tcp://127.0.0.1:1\n"])
@pytest.mark.parametrize("keys", [None, SERVICE])
def test_what_zeromq_would_read_in_another_way(address, keys):
    with pytest.raises(SocketError, match="write tcp://HOST:PORT"):
        security("bind", address, keys, plain=False)
