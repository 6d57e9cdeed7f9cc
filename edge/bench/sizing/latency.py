"""`edge bench latency`: what `edge serve` adds to the time that Triton takes for a frame.

Theory of operation
-------------------
Rounds alternate. In one, a detector sends 200 frames a second through `edge serve`, which tells at the end of the
series how long its frames took from received to published (monotonic clock, percentiles right to 2 %). In the other,
this process asks the same Triton for one frame at the same pace, the frame in shared memory and the answer too, with
nothing else around: from the call to its answer. The figures are differences of one round's percentiles.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.listener import Listener
from edge.bench.sizing.listening import Watch
from edge.bench.sizing.pipeline import problem_of
from edge.bench.sizing.rig import IDENTITY, Served, Setup, serve, triton
from edge.bench.sizing.wire import Case
from edge.demo.children import ChildError
from edge.inference import announcement
from edge.inference.client import InferenceClient
from edge.inference.requests import Completion, Request, Span
from edge.inference.shared_memory import Namespace, Region
from edge.models import identity

CASE = Case("stream-v2", (128, 128))
ANSWER_S = 10.0
SETTLED_S = 30.0
OUTPUT_NBYTES = 8


@dataclass
class Round:
    """Milliseconds by percentile: "p50", "p99", "max"."""

    ours: dict[str, float] = field(default_factory=dict)
    triton: dict[str, float] = field(default_factory=dict)
    triton_ms: list[float] = field(default_factory=list)  # of each request

    def extra(self, percentile: str) -> float:
        """What ours takes longer, ms."""
        return self.ours[percentile] - self.triton[percentile]


def measure(
    folder: Path, rounds: int, seconds: float, rate_hz: float, announced: Path | None, hear: Callable[[], None]
) -> list[Round]:
    """So many rounds, `seconds` of each side.

    Raises:
        ChildError, SharedMemoryError, InferenceError: it could not be measured.
    """
    setup = Setup(routes=(IDENTITY,))
    images = max(10, round(seconds * rate_hz))
    found = []
    with triton(setup, folder, announced) as file, serve(setup, folder, file) as served, Namespace() as memory:
        frame, output = memory.region("frame", CASE.nbytes), memory.region("output", OUTPUT_NBYTES)
        with Feeder() as feeder, Listener(Watch(served.handshake, served.pid)) as listener, _client(file) as client:
            client.register(frame)
            client.register(output)
            try:
                _ours(feeder, listener, served, max(10, images // 10), rate_hz, 1)  # warms up both
                _bare(client, frame, output, max(10, images // 10), rate_hz)
                for number in range(rounds):
                    one = Round()
                    one.ours = _ours(feeder, listener, served, images, rate_hz, number + 2)
                    one.triton_ms = _bare(client, frame, output, images, rate_hz)
                    one.triton = percentiles(one.triton_ms)
                    found.append(one)
                    hear()
            finally:
                client.unregister_prefix(memory.prefix)
    return found


def percentiles(values: list[float]) -> dict[str, float]:
    """By nearest rank, as the account of a series has them."""
    ordered = sorted(values)
    at = {name: ordered[math.ceil(len(ordered) * part) - 1] for name, part in (("p50", 0.5), ("p99", 0.99))}
    return {**at, "max": ordered[-1]}


def _ours(
    feeder: Feeder, listener: Listener, served: Served, images: int, rate_hz: float, number: int
) -> dict[str, float]:
    case = Case(CASE.protocol, CASE.shape, images=images)
    feeder.order(Order(case, number, served.frames, rate_hz=rate_hz))
    feeder.sent()
    heard = listener.heard(SETTLED_S)
    problem = problem_of(heard, case)
    if problem:
        raise ChildError(f"series {number}: {problem} (see {served.log})")
    return heard.latency_ms


def _bare(client: InferenceClient, frame: Region, output: Region, images: int, rate_hz: float) -> list[float]:
    """Milliseconds of each request."""
    took: list[float] = []
    shape = (1, *CASE.shape, np.dtype(CASE.dtype).itemsize)
    model = identity.SPEC.variant(shape[-1])
    spans = {identity.SPEC.outputs[0].name: Span(output.name, 0, OUTPUT_NBYTES)}
    frame.view[...] = CASE.picture(0).view(np.uint8).reshape(-1)
    began = time.monotonic()
    for number in range(images):
        left_s = began + number / rate_hz - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        took.append(_asked(client, Request(number, model, shape, Span(frame.name, 0, frame.nbytes), spans)))
    return took


def _asked(client: InferenceClient, request: Request) -> float:
    """Milliseconds from the call to its answer."""
    answers: list[tuple[int, Completion]] = []
    done = threading.Event()

    def on_done(answer: Completion) -> None:
        answers.append((time.monotonic_ns(), answer))
        done.set()

    asked_ns = time.monotonic_ns()
    client.submit(request, on_done)
    if not done.wait(ANSWER_S):
        raise ChildError(f"Triton did not answer within {ANSWER_S:g} s")
    answered_ns, answer = answers[0]
    if answer.error is not None:
        raise answer.error
    return (answered_ns - asked_ns) / 1e6


def _client(file: Path) -> InferenceClient:
    found = announcement.read(file)
    if found is None:
        raise ChildError(f"{file} announces no server")
    return InferenceClient(found.url, token=found.token)
