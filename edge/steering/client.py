"""An agent that lives in another process: to a plan it is what `edge.agent.service.AgentService` is."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from edge.agent.messages import Observation, Suggestion
from edge.agent.options import Options
from edge.agent.service import MOST_KEYS
from edge.agent.space import Space
from edge.steering import wire
from edge.steering.conversation import AgentGone, Conversation
from edge.steering.words import MOST_PENDING, definition, observation_words, pack
from streams.bounds import MAX_REQUEST_BYTES
from streams.messages import CodecError, Part
from streams.sockets import Keys, Poller, Socket, WakeUp, context, dealer

T = TypeVar("T")

TURN_MS = 100
HEAD_BYTES = 256
"""Of an `ingest` or `abandon`, besides what it lists."""
MOST_WAITING = 10_000
"""Requests without an answer; a plan of days without an agent has no more observations."""
DEFAULTS = Options()


@dataclass(frozen=True)
class Patience:
    """How long an answer is waited for, in seconds.

    Attributes:
        ask_s: for suggestions. A plan takes fallback positions meanwhile, and gives up after three errors in a row.
        tell_s: until observations are taken. Nobody waits for that, so it may last an outage.
        close_s: when it is closed, for all that is not answered yet.
    """

    ask_s: float = 60.0
    tell_s: float = 3600.0
    close_s: float = 5.0


PATIENCE = Patience()


class RemoteAgent:
    """The agent of `experiment` at the service at `address` (`edge agent serve`). Safe from any thread; no call blocks.

    The service may be killed and started anew at any time: what was not answered is asked again, and it has what it
    had answered. An experiment goes on where it was when it is opened again, by the same space, seed and options.

    Args:
        experiment: a name that no other experiment has had: letters, digits, dots, hyphens, underscores.
        options: of the agent; it always trains beside its answers, whatever `training` says.
        keys: of `streams.sockets.read_keys`, where the service has keys.

    Raises:
        ValueError: the space or the options are beyond what the service takes, or the name is none.
        SocketError: no such address, or keys are needed.
    """

    def __init__(
        self,
        address: str,
        experiment: str,
        space: Space,
        *,
        seed: int = 0,
        options: Options = DEFAULTS,
        keys: Keys | None = None,
        patience: Patience = Patience(),
    ) -> None:
        self._conversation = Conversation(experiment, definition(space, seed, options))
        wire.unpack_request(pack(wire.Open(0, experiment, self._conversation.definition)))
        self._address = address
        self._patience = patience
        self._lock = threading.Lock()  # of the two below
        self._closed = False
        self._requests: OrderedDict[str, Future[list[Suggestion]]] = OrderedDict()
        self._inbox: queue.SimpleQueue[tuple[wire.Request, Future[Any], float]] = queue.SimpleQueue()
        self._close_s = float("inf")  # monotonic; when to give up what is left
        with ExitStack() as stack:
            self._wake_up = WakeUp()
            stack.callback(self._wake_up.close)
            ctx = stack.enter_context(context(keys=keys))
            socket = dealer(ctx)
            socket.connect(address)
            self._open = stack.pop_all()
        self._thread = threading.Thread(target=self._run, args=(socket,), name="remote-agent", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def request(self, key: str, n: int = 1) -> Future[list[Suggestion]]:
        """As `AgentService.request`. The future holds AgentGone where no answer came within one's patience; then the
        same key asks again. Raises RuntimeError after `close`, ValueError for a key or number beyond the limits."""
        request = wire.Ask(0, self._conversation.experiment, key, n)
        wire.unpack_request(pack(request))
        with self._lock:
            known = self._requests.get(key)
            if known is None or (known.done() and known.exception() is not None):
                known = self._requests[key] = self._say(request, self._patience.ask_s)
                if len(self._requests) > MOST_KEYS:
                    self._requests.popitem(last=False)
            return known

    def ingest(self, observations: Sequence[Observation]) -> Future[None]:
        """As `AgentService.ingest`; many are sent in several messages, each of which is taken whole or not at all."""
        try:
            words = [observation_words(one) for one in observations]
            portions = list(_portions(words, [len(pack(one)) for one in words], wire.MOST_OBSERVATIONS))
        except ValueError as error:
            refused: Future[None] = Future()
            refused.set_exception(error)
            return refused
        with self._lock:
            name = self._conversation.experiment
            return _joined([self._say(wire.Ingest(0, name, part), self._patience.tell_s) for part in portions])

    def abandon(self, suggestion_ids: Sequence[str]) -> Future[None]:
        """As `AgentService.abandon`."""
        portions = _portions(suggestion_ids, [len(one.encode()) + 3 for one in suggestion_ids], MOST_PENDING)
        with self._lock:
            name = self._conversation.experiment
            return _joined([self._say(wire.Abandon(0, name, part), self._patience.tell_s) for part in portions])

    def close(self) -> None:
        """Wait for what is not answered yet, `Patience.close_s` at most, and put the experiment aside."""
        with self._lock:
            first = not self._closed
            if first and self._conversation.is_open:
                self._say(wire.Close(0, self._conversation.experiment), self._patience.close_s)
            self._closed = True
        if first:
            self._close_s = time.monotonic() + self._patience.close_s
            self._wake_up.set()
            self._thread.join()
            self._open.close()

    def _say(self, request: wire.Request, patience_s: float) -> Future[Any]:
        if self._closed:
            raise RuntimeError("the connection to the agent's service is closed: make a new RemoteAgent")
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # asyncio.wrap_future would pass a cancellation on
        if self._inbox.qsize() + self._conversation.waiting >= MOST_WAITING:
            future.set_exception(AgentGone(f"{MOST_WAITING} requests wait for the agent's service at {self._address}"))
            return future
        self._inbox.put((request, future, time.monotonic() + patience_s))
        self._wake_up.set()
        return future

    def _run(self, socket: Socket) -> None:
        """The thread's own: all that touches the conversation and the socket."""
        poller = Poller()
        poller.watch(socket)
        poller.watch(self._wake_up)
        while not self._over():
            poller.wait(TURN_MS)
            self._turn(socket)
        self._take_in()
        self._conversation.give_up()
        socket.close()

    def _over(self) -> bool:
        done = self._inbox.empty() and not self._conversation.waiting
        return time.monotonic() >= self._close_s or (done and self._close_s < float("inf"))

    def _turn(self, socket: Socket) -> None:
        self._wake_up.clear()
        self._take_in()
        while (parts := socket.receive()) is not None:
            for answer in _read(parts):
                self._conversation.heard(answer)
        now_s = time.monotonic()
        self._conversation.expire(now_s)
        for asked in self._conversation.due(now_s):
            if not socket.send([pack(asked.request)]):
                break
            asked.sent_s = now_s

    def _take_in(self) -> None:
        while True:
            try:
                request, future, deadline_s = self._inbox.get_nowait()
            except queue.Empty:
                return
            numbered = msgspec.structs.replace(request, number=self._conversation.number())
            self._conversation.ask(numbered, future, deadline_s)


def _portions(items: Sequence[T], sizes: Sequence[int], most: int) -> Iterator[tuple[T, ...]]:
    """`items`, which are so many bytes each, in messages. Raises ValueError where one is too large for any."""
    part: list[T] = []
    filled = 0
    for item, size in zip(items, sizes, strict=True):
        if size > MAX_REQUEST_BYTES - HEAD_BYTES:
            raise ValueError(f"{item} has {size} bytes, more than the agent's service takes")
        if part and (len(part) == most or filled + size > MAX_REQUEST_BYTES - HEAD_BYTES):
            yield tuple(part)
            part, filled = [], 0
        part.append(item)
        filled += size
    if part:
        yield tuple(part)


def _joined(futures: Sequence[Future[Any]]) -> Future[None]:
    """Done when all are; with the first error, if there is any."""
    joined: Future[None] = Future()
    left = len(futures)
    lock = threading.Lock()

    def count(_: Future[Any]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            _settle(joined, futures)

    for future in futures:
        future.add_done_callback(count)
    if not futures:
        joined.set_result(None)
    return joined


def _settle(joined: Future[None], futures: Sequence[Future[Any]]) -> None:
    error = next((error for future in futures if (error := future.exception()) is not None), None)
    if error is None:
        joined.set_result(None)
    else:
        joined.set_exception(error)


def _read(parts: Sequence[Part]) -> Iterator[wire.Answer]:
    """The answer in a message, if there is one."""
    if len(parts) == 1:
        with suppress(CodecError):
            yield wire.unpack_answer(parts[0])


def ping(address: str, keys: Keys | None = None, timeout_s: float = 2.0) -> wire.Pong | None:
    """What the service at `address` says of itself; None where nobody answers. Raises SocketError as RemoteAgent."""
    deadline = time.monotonic() + timeout_s
    with context(keys=keys) as ctx:
        socket = dealer(ctx)
        socket.connect(address)
        if socket.send([pack(wire.Ping(1))], int(timeout_s * 1000)):
            return _pong(socket, deadline)
    return None


def _pong(socket: Socket, deadline: float) -> wire.Pong | None:
    while (left_ms := int((deadline - time.monotonic()) * 1000)) > 0:
        for answer in _read(socket.receive(left_ms) or ()):
            if isinstance(answer, wire.Pong):
                return answer
    return None
