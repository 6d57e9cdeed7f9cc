"""Requests: the batches of one route on their way to the server and back, and what is tried again.

A frame is failed only where the server is not to blame. A request whose server went away is sent again to the next one.
A request that the model answered with a failure may have met a model that is broken, so its frames are set aside and
the model is asked its canary: where that fails too, they wait for the next server; where it passes, they are sent once
more, each alone, and one that fails again is failed.

A request is settled when the server can no longer read its slots or write its outputs. After a timeout or a
lost connection that is not certain: its slots and its output block stay taken until that server process is
gone, or until a new epoch has registered the memory anew (Triton refuses to unregister memory in use).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import msgspec
import numpy as np

from edge.conditioning.selection import WHOLE, Selection
from edge.inference.requests import Completion, InferenceError, Request, Span, Submitter
from edge.models.card import Validity
from edge.models.spec import ModelSpec
from edge.models.validity import photons
from edge.pipeline.batching import Pending, RouteQueue
from edge.pipeline.inflight import InFlight
from edge.pipeline.outputs import OutputBlocks
from edge.pipeline.policy import OVERLOAD, SUPERSEDED, Policy
from edge.pipeline.record import SeriesRecord
from edge.pipeline.slots import Lane
from edge.pipeline.totals import Totals
from streams.routing import Route

MAX_ATTEMPTS = 5
"""A frame that lost so many servers is given up: it may be what kills them."""

MAX_FAILURES = 2
"""So often the model must fail, while its canary passes, for a frame: first in company, then alone."""

PATIENCE_NS = 60_000_000_000
"""How long a frame is offered to a server that is there but busy, or is loading the model."""

PAUSE_NS = {"overloaded": 50_000_000, "model_missing": 500_000_000, "unavailable": 2_000_000_000}
"""How long a route waits before it tries again, by kind of error; a server that comes back ends the wait."""


class Serving(msgspec.Struct, frozen=True):
    """The inference server that is ready now."""

    epoch: int
    client: Submitter
    transport: Literal["shm", "inline"]


class ServedModel(msgspec.Struct, frozen=True):
    """A model as one route uses it."""

    spec: ModelSpec
    version: str
    sha256: str  # of the weights' file
    itemsizes: tuple[int, ...]  # bytes a pixel for which a variant is loaded
    valid: Validity = Validity()  # of its card


Dropped: TypeAlias = tuple[SeriesRecord, tuple[str, ...], str]
"""An image that its route dropped: its series, the routes that waited for the result, and the reason."""


class Outcome(Protocol):
    """What the serving loop does with a frame that left its route."""

    def inferred_all(self, runner: "RouteRunner", frames: Sequence[Pending], arrays: Mapping[str, np.ndarray]) -> None:
        """The model answered; arrays by output name, [frames, ...], in the order of `frames`."""
        ...

    def failed(self, runner: "RouteRunner", frame: Pending, reason: str, detail: str) -> None:
        """It never will."""
        ...


class _Flight(msgspec.Struct, gc=False):
    frames: list[Pending]
    block: int
    server: Serving  # it was sent to


class RouteRunner:
    """Sends the frames of one route to whichever server is ready.

    Args:
        route: its rule.
        model: what it runs.
        outputs: blocks for what it answers, more of them than `limit`.
        limit: requests that may be at the server at the same time, at most.
        selection: what of the images it takes.
        policy: what it does with more images than the model takes.
    """

    def __init__(
        self,
        route: Route,
        model: ServedModel,
        outputs: OutputBlocks,
        limit: int,
        selection: Selection = WHOLE,
        policy: Policy = Policy(),  # noqa: B008 (frozen)
    ) -> None:
        self.route = route
        self.model = model
        self.spec = model.spec
        self.queue = RouteQueue(in_turn=policy.when_full == "latest")
        self.outputs = outputs
        self.selection = selection
        self.policy = policy
        self._pacing = InFlight(limit)
        self._flights: dict[int, _Flight] = {}
        self._unsettled: list[_Flight] = []
        self._held: Counter[Lane] = Counter()  # slots, by images of a route that drops, from when they were admitted
        self._dropped: list[Dropped] = []
        self._not_before_ns = 0
        self._last_id = 0
        self._epoch = 0
        self._failure = ""

    @property
    def in_flight(self) -> int:
        """Requests that are not answered yet."""
        return len(self._flights)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now."""
        return self._pacing.limit

    def pump(
        self, server: Serving, now_ns: int, on_done: Callable[["RouteRunner", Completion], None], totals: Totals
    ) -> None:
        """Send what may be sent now: full batches while there is room, a part of one when nothing is in flight."""
        while now_ns >= self._not_before_ns and self.outputs.free and len(self._flights) < self._pacing.limit:
            length, may_grow = self.queue.next_batch(self.outputs.capacity)
            if length == 0 or (may_grow and self._flights):
                return
            self._last_id += 1
            flight = _Flight(self.queue.take(length), self.outputs.take(), server)
            self._flights[self._last_id] = flight
            for frame in flight.frames:
                frame.lane.send(frame.slot)
            totals.observe_batch(self.route.name, length)
            server.client.submit(self._request(flight, server), lambda completion: on_done(self, completion))

    def complete(self, completion: Completion, now_ns: int, outcome: Outcome, totals: Totals) -> None:
        """Take the answer to one request."""
        flight = self._flights.pop(int(completion.request_id))
        error = completion.error or self._misshapen(flight, completion)
        if error is None:
            arrays = completion.outputs
            if arrays is None:
                arrays = self.outputs.read(flight.block, flight.frames[0].shape, len(flight.frames))
            outcome.inferred_all(self, flight.frames, arrays)
            for frame in flight.frames:
                self._release(frame)
            self._pacing.answered(len(flight.frames), len(self.queue) >= len(flight.frames), now_ns)
        else:
            self._recover(flight, error, now_ns, outcome, totals)
        if completion.settled or flight.server.epoch < self._epoch:
            self._settle(flight)
        else:
            self._unsettled.append(flight)

    def admits(self, lane: Lane, insists: bool = False) -> bool:
        """Whether one more image may take a slot of `lane`; older ones that wait are dropped for it where they must.

        The slot counts as held from then on (`offer`, or else `give_back`). A route that blocks admits every image:
        where there is no slot for it, its source waits.

        Args:
            insists: admit it in any case, and drop nothing.
        """
        if not self.policy.drops:
            return True
        quota = self.policy.quota(lane.count)
        while not insists and self._held[lane] + self._quarantined(lane) >= quota:
            if not self._drop_oldest(lane, OVERLOAD):
                return False
        self._held[lane] += 1
        return True

    def give_back(self, lane: Lane) -> None:
        """An image that was admitted does not come."""
        if self.policy.drops:
            self._held[lane] -= 1
            if not self._held[lane]:
                del self._held[lane]

    def make_room(self, lanes: Iterable[Lane]) -> None:
        """These lanes are to be carved anew: a route that drops images lets nobody wait for those that it has there."""
        if self.policy.drops:
            for frame in self.queue.take_of(lanes):
                self._drop(frame, OVERLOAD)

    def offer(self, frame: Pending) -> None:
        """An image that was admitted, in its slot."""
        if self.policy.when_full == "latest":
            while self._drop_oldest(frame.lane, SUPERSEDED):
                pass
        trained = frame.record.ranges[self.route.name]
        if trained.due(frame.received_ns):
            trained.measured(_photons(frame), frame.received_ns)
        self.queue.put(frame)

    def refuse(self, record: SeriesRecord, expected: tuple[str, ...]) -> None:
        """An image that was not admitted; `expected` as of `Pending`."""
        self._dropped.append((record, expected, OVERLOAD))

    def pop_dropped(self) -> list[Dropped]:
        """The images that were dropped since the last call."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def abandon(self) -> list[Pending]:
        """Give up everything that waits or is in flight, at the very end."""
        frames = self.queue.clear()
        for flight in self._flights.values():
            frames += flight.frames
        self._flights.clear()
        return frames

    def settle_all(self) -> None:
        """No earlier server process can touch our memory any more."""
        for flight in self._unsettled:
            self._settle(flight)
        self._unsettled.clear()

    def resume(self, epoch: int) -> None:
        """A server is ready: end any wait. What was sent to earlier ones can touch our memory no more."""
        aside = self.queue.take_aside()
        for frame in aside:
            _lost(frame, self._epoch)
        self.queue.put_back(aside)
        self._epoch = epoch
        self._not_before_ns = 0
        self.queue.forgive()

    def checked(self, epoch: int, since_ns: int, outcome: Outcome) -> None:
        """The model of server `epoch` passed its canary, sent at `since_ns`: what failed before did so itself."""
        if epoch != self._epoch:
            return
        again = []
        for frame in self.queue.take_aside(since_ns):
            if frame.failures < MAX_FAILURES:
                again.append(frame)
            else:
                outcome.failed(self, frame, "failed", self._failure)
                self._release(frame)
        self.queue.put_back(again)

    def _drop_oldest(self, lane: Lane, reason: str) -> bool:
        frame = self.queue.take_oldest(lane)
        if frame is not None:
            self._drop(frame, reason)
        return frame is not None

    def _drop(self, frame: Pending, reason: str) -> None:
        self._release(frame)
        self._dropped.append((frame.record, frame.expected, reason))

    def _quarantined(self, lane: Lane) -> int:
        return sum(len(flight.frames) for flight in self._unsettled if flight.frames[0].lane is lane)

    def _release(self, frame: Pending) -> None:
        self.give_back(frame.lane)
        frame.lane.release(frame.slot)

    def _settle(self, flight: _Flight) -> None:
        self.outputs.give_back(flight.block)
        for frame in flight.frames:
            frame.lane.settle(frame.slot)

    def _recover(self, flight: _Flight, error: InferenceError, now_ns: int, outcome: Outcome, totals: Totals) -> None:
        current = flight.server.epoch >= self._epoch  # else it was not this server that failed
        again = []
        for frame in flight.frames:
            if error.kind == "unavailable":
                _lost(frame, flight.server.epoch)
            frame.retried_since_ns = frame.retried_since_ns or now_ns
            tired = frame.attempts >= MAX_ATTEMPTS or now_ns - frame.retried_since_ns > PATIENCE_NS
            if (error.kind in PAUSE_NS or error.kind == "failed") and not tired:
                again.append(frame)
            else:
                outcome.failed(self, frame, error.kind, str(error))
                self._release(frame)
        if not again:
            return
        totals.retries[self.route.name, error.kind] += 1
        if error.kind == "failed" and current:
            self._set_aside(again, flight.server.client, str(error), now_ns)
            return
        if current:
            self._not_before_ns = now_ns + PAUSE_NS[error.kind]
        self.queue.put_back(again)

    def _set_aside(self, frames: list[Pending], client: Submitter, failure: str, now_ns: int) -> None:
        for frame in frames:
            frame.failures += 1
            frame.failed_ns = now_ns
        self._failure = failure
        self.queue.set_aside(frames)
        client.doubt(failure)

    def _request(self, flight: _Flight, server: Serving) -> Request:
        first, batch = flight.frames[0], len(flight.frames)
        shape = (batch, *first.shape, first.itemsize)
        model = self.spec.variant(first.itemsize)
        if server.transport == "inline":
            pixels = first.lane.run(first.slot, batch).reshape(shape)
            return Request(self._last_id, model, shape, pixels, tuple(output.name for output in self.spec.outputs))
        frames = Span(first.lane.region, first.lane.offset_of(first.slot), batch * first.lane.pitch)
        return Request(self._last_id, model, shape, frames, self.outputs.spans(flight.block, first.shape, batch))

    def _misshapen(self, flight: _Flight, completion: Completion) -> InferenceError | None:
        for output in self.spec.outputs:
            expected = (len(flight.frames), *output.shape_for(flight.frames[0].shape))
            answered = tuple(completion.shapes.get(output.name, ()))
            if answered != expected:
                return InferenceError(
                    "failed", f"model {self.spec.name} answered {output.name} of shape {answered}, not {expected}"
                )
        return None


def _lost(frame: Pending, epoch: int) -> None:
    """`frame` was with server `epoch` when that went away: counted once, however often it was refused."""
    if frame.tried_epoch != epoch:
        frame.tried_epoch = epoch
        frame.attempts += 1


def _photons(frame: Pending) -> float:
    """Counts in an image, as its model sees it."""
    height, width = frame.shape
    used = frame.lane.buffer(frame.slot)[: height * width * frame.itemsize]
    return photons(used.view(f"<u{frame.itemsize}"))
