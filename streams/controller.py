"""The controller's side of the conversation beside the result stream (`streams.codecs.handshake`).

A detector is armed when everything behind it is ready, and for as many images as a run may need; whoever triggers it
knows how many it was, and tells.
"""

import time
from collections.abc import Sequence

from streams.codecs import handshake
from streams.codecs.handshake import AccountNow, Problem, Readiness
from streams.messages import CodecError
from streams.sockets import Context, dealer
from streams.subscriber import NoAnswer, unanswered

__all__ = ["AccountNow", "Controller", "Problem", "Readiness"]

_Question = handshake.Triggered | handshake.Inquire | handshake.Ready


class Controller:
    """Tells `edge serve` what was triggered, and asks what became of it. For one thread.

    Args:
        ask_address: its handshake socket.
        timeout_s: how long to wait for one answer.
    """

    def __init__(self, ctx: Context, ask_address: str, timeout_s: float = 5.0) -> None:
        self._address = ask_address
        self._timeout_s = timeout_s
        self._socket = dealer(ctx)
        self._peers = self._socket.peers
        self._socket.connect(ask_address)
        self._asked = 0  # times for readiness

    def __enter__(self) -> "Controller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def ready(self, source: str = "", routes: Sequence[str] = (), subscribers: Sequence[str] = ()) -> Readiness:
        """Whether the next frame of `source` (empty: of any) would be served and its result heard by all who must.

        Args:
            routes: whose results are wanted; none: all that take from the source.
            subscribers: names that have to be present, beside those that the configuration requires.

        Raises:
            NoAnswer: within `timeout_s`.
        """
        self._asked += 1
        reply = self._ask(handshake.Ready(source, tuple(routes), tuple(subscribers), self._asked))
        assert isinstance(reply, Readiness)
        return reply

    def triggered(self, source: str, series_id: int, images: int, series_uid: str = "") -> bool:
        """So many images were triggered in this series, and no more will be: the ledger expects that number.

        Without its unique id the newest series of that number is meant.

        Returns:
            False where no such series is open, or more images than that have arrived.

        Raises:
            NoAnswer: within `timeout_s`.
        """
        reply = self._ask(handshake.Triggered(source, series_id, images, series_uid))
        return isinstance(reply, handshake.Noted) and reply.known

    def account(self, source: str, series_id: int, route: str, series_uid: str = "") -> AccountNow | None:
        """What became of the series on the route so far; None where it is not (or no longer) known.

        Raises:
            NoAnswer: within `timeout_s`.
        """
        reply = self._ask(handshake.Inquire(source, series_id, route, series_uid))
        return reply.now if isinstance(reply, handshake.AccountReply) else None

    def _ask(self, request: _Question) -> handshake.Reply:
        deadline = time.monotonic() + self._timeout_s
        timeout_ms = int(self._timeout_s * 1000)
        if self._socket.send([handshake.pack(request)], timeout_ms):
            while (left_ms := int((deadline - time.monotonic()) * 1000)) > 0:
                parts = self._socket.receive(left_ms)
                reply = None if parts is None else _reply(parts[0])
                if reply is not None and _answers(reply, request):
                    return reply
        raise NoAnswer(unanswered(self._address, self._timeout_s, self._peers))


def _reply(part: memoryview) -> handshake.Reply | None:
    try:
        return handshake.unpack_reply(part)
    except CodecError:
        return None


def _answers(reply: handshake.Reply, request: _Question) -> bool:
    """Whether `reply` is to `request`, not a late one to an earlier question."""
    if isinstance(request, handshake.Ready):
        return isinstance(reply, Readiness) and (reply.source, reply.token) == (request.source, request.token)
    kind = handshake.Noted if isinstance(request, handshake.Triggered) else handshake.AccountReply
    return isinstance(reply, kind) and (reply.source, reply.series_id) == (request.source, request.series_id)
