"""The HTTP server as its clients meet it, good and bad ones: real sockets, real TLS."""

import json
import os
import resource
import shutil
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner

from edge.commands.keys_tls import tls
from edge.commands.keys_token import token
from edge.http.access import PLAIN, Access, access_for
from edge.http.certificate import self_signed, write_pair
from edge.http.limits import USUAL, Limits
from edge.http.messages import Answer, Request, Respond
from edge.http.refusals import Refusals
from edge.http.server import serving
from edge.http.tls import server_context
from edge.http.tokenfile import read_tokens, write_tokens
from edge.http.tokens import new_token, revoked
from edge.metrics import serve_metrics
from edge.pipeline.totals import Totals
from streams.sockets import SocketError
from tests.system.witness import eventually

PATIENCE_S = 30.0
CONNECTIONS = 16
FLOOD = 2_000
QUICK = Limits(connections=CONNECTIONS, request_s=0.5, idle_s=0.5, send_s=0.5)
PATIENT = Limits(connections=CONNECTIONS)


def echo(request: Request) -> Answer:
    return Answer({"method": request.method, "target": request.target, "bytes": len(request.body)})


@dataclass
class Site:
    """A server, and what a test needs to know of it."""

    address: str
    refused: Counter[str] = field(default_factory=Counter)

    def connect(self) -> socket.socket:
        where = urlsplit(self.address)
        assert where.hostname and where.port
        return socket.create_connection((where.hostname, where.port), timeout=PATIENCE_S)

    def talk(self, sent: bytes) -> bytes:
        """Everything that the server says until it closes the connection."""
        with self.connect() as connection:
            connection.sendall(sent)
            return everything(connection)

    def answers(self) -> bool:
        return httpx.get(f"{self.address}/good", timeout=PATIENCE_S, trust_env=False).json()["target"] == "/good"


def everything(connection: socket.socket) -> bytes:
    said = b""
    while more := connection.recv(65536):
        said += more
    return said


@contextmanager
def site(limits: Limits = PATIENT, respond: Respond = echo, access: Access = PLAIN) -> Iterator[Site]:
    """Afterwards no thread and no descriptor of it is left."""
    descriptors, refusals = open_descriptors(), Refusals()
    with serving(("127.0.0.1", 0), respond, access, refusals, limits) as address:
        yield Site(address, refusals.counts)
    eventually(lambda: threads() == 0, "the connections' threads end")
    eventually(lambda: open_descriptors() <= descriptors, "the descriptors are closed")


def threads() -> int:
    return sum(thread.name == "http-connection" for thread in threading.enumerate())


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    pair = self_signed(["127.0.0.1", "localhost"], datetime.now(UTC), timedelta(days=1))
    write_pair(pair, folder / "tls.crt", folder / "tls.key")
    return folder


def trusting(keys: Path) -> ssl.SSLContext:
    """Of a client that trusts this certificate alone, and takes the standards strictly."""
    context = ssl.create_default_context(cafile=keys / "tls.crt")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def guarded(keys: Path, limits: Limits = PATIENT) -> Iterator[tuple[Site, str, str]]:
    """With TLS and tokens: the site, a token, and an expired one."""
    now = datetime.now(UTC)
    secret, good = new_token("good", now, timedelta(days=1))
    old_secret, old = new_token("old", now - timedelta(days=2), timedelta(days=1))
    tokens = keys / "tokens.json"
    write_tokens(tokens, (good, old))
    with site(limits, access=Access(keys / "tls.crt", keys / "tls.key", tokens)) as guarded_site:
        yield guarded_site, secret, old_secret


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_a_good_client_keeps_its_connection() -> None:
    with site() as good, httpx.Client(base_url=good.address, trust_env=False) as client:
        for at in range(3):
            answer = client.put(f"/{at}", content=b"x" * at)
            assert answer.json() == {"method": "PUT", "target": f"/{at}", "bytes": at}
        assert threads() == 1


def test_the_metrics_are_served_and_refusals_are_among_them() -> None:
    totals, missing = Totals(), ["no peer"]
    with serve_metrics(totals, ("127.0.0.1", 0), PLAIN, lambda: missing) as address:
        Site(address).talk(b"nonsense\r\n\r\n")
        with httpx.Client(base_url=address, trust_env=False) as client:
            assert 'edge_http_refused_total{reason="malformed"} 1.0' in client.get("/metrics").text
            waiting = client.get("/readyz")
            assert (waiting.status_code, waiting.json()["problems"]) == (503, ["no peer"])
            missing.clear()
            assert client.get("/readyz").status_code == client.get("/healthz").status_code == 200


def test_the_commands_make_all_that_other_machines_need(tmp_path: Path) -> None:
    made = CliRunner().invoke(tls, ["--folder", str(tmp_path), "--host", "127.0.0.1"])
    assert made.exit_code == 0, made.output
    secret = CliRunner().invoke(token, ["prometheus", "--folder", str(tmp_path)]).stdout.strip()
    access = access_for("0.0.0.0", "metrics.address", str(tmp_path))
    with serve_metrics(Totals(), ("0.0.0.0", 0), access) as address:
        assert address.startswith("https://0.0.0.0:")
        here = address.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=here, verify=trusting(tmp_path), trust_env=False) as client:
            assert "edge_server_ready 0.0" in client.get("/metrics", headers=bearer(secret)).text
            assert client.get("/readyz").status_code == 401


def test_nobody_gets_in_without_a_token_that_is_valid(keys: Path, caplog: pytest.LogCaptureFixture) -> None:
    with guarded(keys) as (good, secret, old), httpx.Client(base_url=good.address, verify=trusting(keys)) as client:
        assert client.get("/", headers=bearer(secret)).status_code == 200
        for headers, reason, words in (
            ({}, "no_token", "send a token"),
            (bearer("wrong"), "wrong_token", "not valid"),
            (bearer(old), "expired_token", "has expired"),
        ):
            refused = client.get("/", headers=headers)
            assert refused.status_code == 401 and words in refused.json()["error"]
            assert refused.headers["www-authenticate"].startswith("Bearer")
            assert good.refused[reason] == 1 and reason.replace("_", " ") in caplog.text
        assert secret not in caplog.text and old not in caplog.text
        assert client.get("/", headers=bearer(secret)).status_code == 200
        tokens = json.loads((keys / "tokens.json").read_text())
        assert [each["name"] for each in tokens] == ["good", "old"]


def test_a_revoked_token_is_refused_at_the_next_request(keys: Path) -> None:
    with guarded(keys) as (good, secret, _), httpx.Client(base_url=good.address, verify=trusting(keys)) as client:
        assert client.get("/", headers=bearer(secret)).status_code == 200
        write_tokens(keys / "tokens.json", revoked(read_tokens(keys / "tokens.json"), "good"))
        assert client.get("/", headers=bearer(secret)).status_code == 401


def test_who_speaks_no_tls_hears_nothing(keys: Path) -> None:
    with guarded(keys, QUICK) as (good, secret, _):
        for garbage in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 100, os.urandom(1000), b"\x16\x03\x01\xff\xff"):
            with good.connect() as connection:
                connection.sendall(garbage)
                assert b"HTTP" not in until_closed(connection)
        eventually(lambda: good.refused["tls"] == 4, "each is counted")
        answer = httpx.get(good.address, headers=bearer(secret), verify=trusting(keys))
        assert answer.status_code == 200
    assert server_context(keys / "tls.crt", keys / "tls.key").minimum_version == ssl.TLSVersion.TLSv1_2


def until_closed(connection: socket.socket) -> bytes:
    try:
        return everything(connection)
    except ConnectionResetError:
        return b""


def test_half_open_tls_connections_keep_nobody_out(keys: Path) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the beginning of a ClientHello
    with guarded(keys) as (good, secret, _), ExitStack() as stack:
        for at in range(3 * CONNECTIONS):
            connection = stack.enter_context(good.connect())
            connection.sendall(hello[: at % len(hello)])
        answer = httpx.get(good.address, headers=bearer(secret), verify=trusting(keys), timeout=PATIENCE_S)
        assert answer.status_code == 200
        assert good.refused["too_many_connections"] >= 2 * CONNECTIONS


@pytest.mark.parametrize(("crt", "key"), [("tls.key", "tls.key"), ("tls.crt", "none"), ("tls.crt", "other.key")])
def test_a_certificate_that_cannot_be_used_is_said_in_words(keys: Path, crt: str, key: str) -> None:
    write_pair(self_signed(["other"], datetime.now(UTC), timedelta(days=1)), keys / "other.crt", keys / "other.key")
    with (
        pytest.raises(SocketError, match=rf"{crt} and .*{key}"),
        serving(("127.0.0.1", 0), echo, Access(keys / crt, keys / key), Refusals()),
    ):
        pass


def test_a_key_that_everybody_may_read_is_refused(keys: Path, tmp_path: Path) -> None:
    crt, key = shutil.copy(keys / "tls.crt", tmp_path), Path(shutil.copy(keys / "tls.key", tmp_path))
    key.chmod(0o644)
    with pytest.raises(SocketError, match=r"tls\.key is open to everybody .*`chmod o= "):
        server_context(Path(crt), key)
    key.chmod(0o640)  # for a group that may, as many sites have one
    server_context(Path(crt), key)


PUT = b"PUT / HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def plain() -> Iterator[Site]:
    with site() as plain_site:
        yield plain_site


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (PUT + b"Content-Length: 999999999999\r\n\r\n", 413, "too_large"),
        (PUT + b"Content-Length: %d\r\n\r\n" % (USUAL.body_bytes + 1), 413, "too_large"),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%s\r\n" % bytes(65536) * 5, 413, "too_large"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", 431, "too_large"),
        (PUT + b"a: b\r\n" * 20_000 + b"\r\n", 431, "too_large"),
        (PUT + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400, "malformed"),
        (b"nonsense\r\n\r\n", 400, "malformed"),
        (bytes(range(256)) * 10, 400, "malformed"),
        (PUT + b"a: b\r\n" + b"\xff\x00\r\n\r\n", 400, "malformed"),
    ],
    ids=range(9),
)
def test_what_is_no_request_is_refused_and_counted(plain: Site, sent: bytes, status: int, reason: str) -> None:
    before = plain.refused[reason]
    head, _, body = plain.talk(sent).partition(b"\r\n\r\n")
    assert head.split()[1] == b"%d" % status
    assert set(json.loads(body)) == {"error"}
    assert plain.refused[reason] == before + 1
    assert plain.answers()


def test_a_client_that_sends_too_much_still_reads_why(plain: Site) -> None:
    for size in (USUAL.body_bytes, USUAL.body_bytes + 1, 900_000):
        answer = httpx.put(plain.address, content=bytes(size), timeout=PATIENCE_S, trust_env=False)
        assert answer.status_code == (200 if size <= USUAL.body_bytes else 413)


def test_a_client_that_asks_before_it_sends_its_body(plain: Site) -> None:
    """Older versions of curl do so with all but the shortest."""
    with plain.connect() as connection:
        connection.sendall(PUT + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"ok")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_a_client_that_hangs_up_in_the_middle(plain: Site) -> None:
    for sent in (b"", b"GE", PUT, PUT + b"Content-Length: 9\r\n\r\n1234"):
        with plain.connect() as connection:
            connection.sendall(sent)
    assert plain.answers()
    eventually(lambda: threads() == 0, "their threads end")


@contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(before[0], descriptors) if before[1] == resource.RLIM_INFINITY else min(before[1], descriptors)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], wanted), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("sent", [b"", b"GET / HT"], ids=["nothing", "half a request"])
def test_thousands_of_half_open_connections_keep_nobody_out(sent: bytes) -> None:
    with room_for(FLOOD + 1000), site() as flooded, ExitStack() as stack:
        most = 0
        for at in range(FLOOD):
            connection = stack.enter_context(flooded.connect())
            connection.sendall(sent)
            if at % 100 == 0:
                assert flooded.answers()
                most = max(most, threads())
        assert flooded.answers()
        assert most <= CONNECTIONS
        assert flooded.refused["too_many_connections"] >= FLOOD - CONNECTIONS


def test_slow_clients_are_told_and_closed() -> None:
    with site(QUICK) as slow:
        with slow.connect() as silent, slow.connect() as dripping:
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\na: " + b"b" * 100:
                time.sleep(0.02)
                try:
                    dripping.sendall(bytes([byte]))
                except OSError:
                    break
            assert everything(silent).startswith(b"HTTP/1.1 408")
            assert until_closed(dripping)[:12] in (b"HTTP/1.1 408", b"")  # it may have sent on after the end
        assert slow.refused == {"too_slow": 2}
        with slow.connect() as idle:
            idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert everything(idle).startswith(b"HTTP/1.1 200")  # and then it is closed without a word
        assert slow.refused == {"too_slow": 2}


def test_a_second_request_has_no_more_time_than_the_first() -> None:
    hurried = Limits(connections=CONNECTIONS, request_s=0.5, idle_s=2 * PATIENCE_S)
    with site(hurried) as slow, slow.connect() as second:
        second.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(1000).startswith(b"HTTP/1.1 200")
        second.sendall(b"GET / HT")
        assert everything(second).startswith(b"HTTP/1.1 408")


def test_whoever_is_being_answered_is_not_pushed_out() -> None:
    asked, full = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer:
        asked.set()
        full.wait(PATIENCE_S)
        return Answer({}, HTTPStatus.IM_A_TEAPOT)

    with site(respond=slow) as busy, busy.connect() as first, ExitStack() as stack:
        first.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert asked.wait(PATIENCE_S)
        for _ in range(2 * CONNECTIONS):
            stack.enter_context(busy.connect())
        eventually(lambda: busy.refused["too_many_connections"] == CONNECTIONS + 1, "there is no room left")
        full.set()
        assert first.recv(1000).startswith(b"HTTP/1.1 418")


def test_a_client_that_does_not_read_its_answer() -> None:
    def much(request: Request) -> Answer:
        return Answer(bytes(64 << 20), content_type="application/octet-stream")

    with site(QUICK, much) as slow, slow.connect() as stubborn:
        stubborn.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually(lambda: slow.refused["too_slow"] == 1 and threads() == 0, "it is given up")


def test_the_end_of_descriptors_is_not_the_end_of_the_server() -> None:
    with site() as short, socket.socket() as patient:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        where = urlsplit(short.address)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))  # the next descriptor is one too many
        try:
            patient.connect((where.hostname, where.port))
            eventually(lambda: short.refused["too_many_connections"] > 0, "no connection can be taken")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        assert short.answers()


def test_an_error_in_the_handler_costs_that_client_its_answer_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(request: Request) -> Answer:
        if request.path == "/broken":
            raise FileNotFoundError("a bug")
        return echo(request)

    raised: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    with site(respond=broken) as faulty:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{faulty.address}/broken", trust_env=False)
        assert faulty.answers()
        eventually(lambda: raised and raised[0].exc_type is RuntimeError, "the error is seen")


def test_leaving_ends_every_connection_and_answers_whoever_waits() -> None:
    asked, leaving = threading.Event(), threading.Event()

    def slow(request: Request) -> Answer:
        asked.set()
        leaving.wait(PATIENCE_S)
        return Answer({}, HTTPStatus.IM_A_TEAPOT)

    with ExitStack() as clients:
        with serving(("127.0.0.1", 0), slow, PLAIN, Refusals()) as address:
            idle, waiting = (
                clients.enter_context(Site(address).connect()),
                clients.enter_context(Site(address).connect()),
            )
            waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert asked.wait(PATIENCE_S)
        with pytest.raises(OSError):
            Site(address).connect()
        assert idle.recv(1) == b""
        leaving.set()
        assert everything(waiting).startswith(b"HTTP/1.1 418")
    eventually(lambda: threads() == 0, "the connections' threads end")


@pytest.mark.parametrize("host", ["no.such.host.invalid", "taken"])
def test_an_address_that_cannot_be_used_is_said_in_words(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ("127.0.0.1", taken.getsockname()[1]) if host == "taken" else (host, 1)
        with pytest.raises(SocketError, match="cannot listen on"), serving(address, echo, PLAIN, Refusals()):
            pass
