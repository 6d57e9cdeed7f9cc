import json
from http import HTTPStatus

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http.conversation import Conversation, Malformed
from edge.http.limits import Limits
from edge.http.messages import Answer, Request

LIMITS = Limits(head_bytes=512, body_bytes=64)
HOST = b"Host: x\r\n"
NOW_S = 1_700_000_000.0


def said(conversation: Conversation, sent: bytes, piece: int = 1) -> list[Request]:
    """All requests in `sent`, which comes in pieces; each is answered."""
    requests = []
    for at in range(0, len(sent), piece):
        conversation.receive(sent[at : at + piece])
        while (request := conversation.next()) is not None:
            requests.append(request)
            conversation.answer(Answer({}), NOW_S)
            if conversation.over:
                return requests
    return requests


def only(sent: bytes) -> Request:
    (request,) = said(Conversation(LIMITS), sent)
    return request


def refused(sent: bytes, piece: int = 1) -> Malformed:
    conversation = Conversation(LIMITS)
    with pytest.raises(Malformed) as caught:
        said(conversation, sent, piece)
    answer = conversation.answer(caught.value.answer, NOW_S, close=True)  # it can be told
    assert answer.startswith(b"HTTP/1.1 %d " % caught.value.answer.status) and b"Connection: close" in answer
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error"}
    return caught.value


def test_a_request_in_any_pieces_is_the_same_request():
    sent = b"PUT /a/b?c=d HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nAccept: text/plain\r\n\r\nhello"
    whole = Request("PUT", "/a/b?c=d", {"host": "x", "content-length": "5", "accept": "text/plain"}, b"hello")
    for piece in (1, 3, 7, len(sent)):
        assert said(Conversation(LIMITS), sent, piece) == [whole]
    assert whole.path == "/a/b"


def test_requests_that_come_together_are_answered_one_after_the_other():
    one = b"GET /%d HTTP/1.1\r\n" + HOST + b"\r\n"
    requests = said(Conversation(LIMITS), one % 1 + one % 2 + one % 3, 1000)
    assert [request.target for request in requests] == ["/1", "/2", "/3"]


def test_a_chunked_body_is_put_together():
    chunked = b"PUT / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert only(chunked).body == b"abcde"


def test_the_limits_are_limits():
    assert only(b"PUT / HTTP/1.1\r\n" + HOST + b"Content-Length: 64\r\n\r\n" + bytes(64)).body == bytes(64)
    line = b"GET / HTTP/1.1\r\n" + HOST + b"a: "
    assert only(line + b"b" * (LIMITS.head_bytes - len(line) - 4) + b"\r\n\r\n").target == "/"


PUT = b"PUT / HTTP/1.1\r\n" + HOST


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (PUT + b"Content-Length: 65\r\n\r\n", 413, "too_large"),
        (PUT + b"Content-Length: 99999999999999999999\r\n\r\n", 413, "too_large"),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n41\r\n" + bytes(65), 413, "too_large"),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n.\r\n" * 65, 413, "too_large"),
        (PUT + b"a: " + b"b" * 512, 431, "too_large"),
        (b"GET /" + b"a" * 512, 431, "too_large"),
        (PUT + b"a: b\r\n" * 100, 431, "too_large"),
        (PUT + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 600, 431, "too_large"),
        (PUT + b"Content-Length: " + b"9" * 300 + b"\r\n\r\n", 400, "malformed"),
        (PUT + b"Content-Length: -5\r\n\r\n", 400, "malformed"),
        (PUT + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed"),
        (PUT + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400, "malformed"),
        (PUT + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "malformed"),
        (PUT + b"Transfer-Encoding: gzip\r\n\r\n", 501, "malformed"),
        (PUT + b"no colon\r\n\r\n", 400, "malformed"),
        (b"PUT / HTTP/1.1\r\n folded\r\n\r\n", 400, "malformed"),
        (PUT + b"a\x00: b\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed"),  # no Host
        (b"nonsense\r\n\r\n", 400, "malformed"),
        (b"GET / HTTQ/1.1\r\nHost: x\r\n\r\n", 400, "malformed"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed"),  # TLS on a plain port
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501, "malformed"),
    ],
    ids=range(22),
)
def test_what_is_no_request_is_refused_in_words(sent: bytes, status: int, reason: str):
    error = refused(sent)
    assert (error.answer.status, error.reason) == (status, reason)


def test_no_more_is_held_than_the_limits_and_one_piece():
    conversation = Conversation(LIMITS)
    conversation.receive(b"GET / HTTP/1.1\r\nHost: x\r\na: ")
    with pytest.raises(Malformed):
        for _ in range(LIMITS.head_bytes // 100 + 1):
            conversation.receive(b"b" * 100)
            assert conversation.next() is None


def test_what_was_sent_is_not_repeated_for_it_may_be_secret():
    error = refused(PUT + b"Authorization : Bearer secret\r\n\r\n")
    assert "secret" not in str(error) and "secret" not in str(error.answer)


def test_the_body_is_asked_for_once():
    conversation = Conversation(LIMITS)
    conversation.receive(PUT + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert conversation.next() is None
    assert conversation.go_ahead() == b"HTTP/1.1 100 \r\n\r\n"
    assert conversation.go_ahead() == b""
    conversation.receive(b"ok")
    request = conversation.next()
    assert request is not None and request.body == b"ok"


def test_idle_is_between_two_requests_only():
    conversation = Conversation(LIMITS)
    assert not conversation.idle
    conversation.receive(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
    assert conversation.next() is not None and not conversation.idle
    conversation.answer(Answer({}), NOW_S)
    assert conversation.idle and not conversation.over
    conversation.receive(b"G")
    assert conversation.next() is None and not conversation.idle


@pytest.mark.parametrize(
    ("head", "close", "over"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", False, False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True, True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False, True),
        (b"GET / HTTP/1.0\r\n\r\n", False, True),
    ],
)
def test_whether_another_request_may_come(head: bytes, close: bool, over: bool):
    conversation = Conversation(LIMITS)
    conversation.receive(head)
    conversation.next()
    assert (b"\r\nConnection: close\r\n" in conversation.answer(Answer({}), NOW_S, close)) is over
    assert conversation.over is over


def test_an_answer_is_what_a_client_reads():
    client, server = h11.Connection(h11.CLIENT), Conversation(LIMITS)
    server.receive(client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")])) or b"")
    server.receive(client.send(h11.EndOfMessage()) or b"")
    assert server.next() is not None
    answer = Answer(b"text", HTTPStatus.IM_A_TEAPOT, content_type="text/plain", headers=(("Allow", "GET"),))
    client.receive_data(server.answer(answer, NOW_S))
    head, body, end = client.next_event(), client.next_event(), client.next_event()
    assert isinstance(head, h11.Response) and isinstance(body, h11.Data) and isinstance(end, h11.EndOfMessage)
    assert head.status_code == 418 and bytes(body.data) == b"text"
    headers = dict(head.headers)
    assert headers[b"date"] == b"Tue, 14 Nov 2023 22:13:20 GMT"
    assert (headers[b"content-type"], headers[b"content-length"], headers[b"allow"]) == (b"text/plain", b"4", b"GET")


def test_a_head_has_no_body():
    conversation = Conversation(LIMITS)
    conversation.receive(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n")
    conversation.next()
    head, _, body = conversation.answer(Answer(b"text"), NOW_S).partition(b"\r\n\r\n")
    assert b"Content-Length: 4" in head and body == b""


HEADS = [b"GET / HTTP/1.1\r\n", b"PUT /x HTTP/1.0\r\n", b"HEAD ", b"CONNECT ", HOST, b"\r\n", b":", b"\n", b"\x00"]
HEADERS = [b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n"]
UPGRADES = [b"Connection: upgrade\r\n", b"Upgrade: websocket\r\n"]
BODIES = [b"abc", b"3\r\n", b"0\r\n\r\n"]
WORDS = st.sampled_from([*HEADS, *HEADERS, *UPGRADES, *BODIES])


@given(st.lists(WORDS | st.binary(max_size=20), max_size=25), st.integers(1, 40))
def test_whatever_comes_is_a_request_or_refused(pieces: list[bytes], piece: int):
    conversation = Conversation(LIMITS)
    try:
        for request in said(conversation, b"".join(pieces), piece):
            assert len(request.body) <= LIMITS.body_bytes
    except Malformed as error:
        assert conversation.answer(error.answer, NOW_S, close=True).startswith(b"HTTP/1.1 ")
