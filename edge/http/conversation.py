"""One connection's HTTP/1.1 without I/O: bytes in, requests out; answers in, bytes out. The protocol is h11's."""

from email.utils import formatdate
from http import HTTPStatus
from typing import Literal

import h11

from edge.http.limits import Limits
from edge.http.messages import Answer, Request

SERVER = "detector-edge"
TOO_LARGE = (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)


class Malformed(ValueError):
    """What came is no request that can be answered. `answer` says so; nothing more is read from this client."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.answer = Answer({"error": text}, status)
        self.reason: Literal["too_large", "malformed"] = "too_large" if status in TOO_LARGE else "malformed"


class Conversation:
    """Requests come one after the other: the next is read when the one before it is answered.

    It holds no more than a head, a body and one piece given to `receive`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._answered = False

    @property
    def idle(self) -> bool:
        """A request was answered, and nothing of the next is here."""
        return self._answered and self._head is None and not self._h11.trailing_data[0]

    @property
    def over(self) -> bool:
        """After an answer: no other request may come on this connection."""
        return self._h11.our_state is not h11.IDLE

    def receive(self, data: bytes) -> None:
        """Take in what came. Call it where `next` wants more."""
        self._h11.receive_data(data)

    def next(self) -> Request | None:
        """The next whole request; None where more bytes are needed.

        Raises:
            Malformed: what came is no request, or larger than it may be.
        """
        try:
            while True:
                match self._h11.next_event():
                    case h11.Request() as head:
                        self._begin(head)
                    case h11.Data(data=data):
                        self._add(data)
                    case h11.EndOfMessage():
                        return self._whole()
                    case _:
                        return None
        except h11.RemoteProtocolError as error:
            text = str(error).partition(":")[0]  # behind it stands what was sent, a token maybe
            raise Malformed(HTTPStatus(error.error_status_hint), text) from error

    def go_ahead(self) -> bytes:
        """For a client that asks whether to send its body (RFC 9110, section 10.1.1): that it may; else nothing."""
        if not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._said(h11.InformationalResponse(status_code=HTTPStatus.CONTINUE, headers=[]))

    def answer(self, answer: Answer, now_s: float, close: bool = False) -> bytes:
        """The bytes of an answer. `now_s` is seconds since 1970; `close`: no other request is taken."""
        content = answer.content()
        headers = [
            ("Date", formatdate(now_s, usegmt=True)),
            ("Server", SERVER),
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(content))),
            *answer.headers,
            *([("Connection", "close")] if close else []),
        ]
        phrase = answer.status.phrase.encode("ascii")
        said = self._said(h11.Response(status_code=answer.status, headers=headers, reason=phrase))
        if self._head is None or self._head.method != b"HEAD":
            said += self._said(h11.Data(data=content))
        said += self._said(h11.EndOfMessage())
        self._head, self._answered = None, True
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        return said

    def _begin(self, head: h11.Request) -> None:
        self._head, self._body = head, bytearray()
        if head.method == b"CONNECT":  # what followed would be no HTTP
            raise Malformed(HTTPStatus.NOT_IMPLEMENTED, "CONNECT: this is no proxy")
        names = [name for name, _ in head.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            # RFC 9112, section 6.1: a proxy before us may have gone by the other one, and see other requests than we
            raise Malformed(HTTPStatus.BAD_REQUEST, "both Transfer-Encoding and Content-Length")
        if names.count(b"authorization") > 1:
            raise Malformed(HTTPStatus.BAD_REQUEST, "several Authorization headers")
        length = next((value for name, value in head.headers if name == b"content-length"), b"0")
        if int(length) > self._limits.body_bytes:  # of 20 digits at most: h11 takes no more
            raise self._too_large()

    def _add(self, data: bytes | bytearray) -> None:
        if len(self._body) + len(data) > self._limits.body_bytes:
            raise self._too_large()
        self._body += data

    def _whole(self) -> Request:
        assert self._head is not None
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in self._head.headers}
        return Request(self._head.method.decode("ascii"), self._head.target.decode("ascii"), headers, bytes(self._body))

    def _too_large(self) -> Malformed:
        text = f"a body has at most {self._limits.body_bytes} bytes"
        return Malformed(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text)

    def _said(self, event: h11.Event) -> bytes:
        return self._h11.send(event) or b""
