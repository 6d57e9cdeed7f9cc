"""`edge bench pipeline`: what a frame costs `edge serve` from the wire to its published result.

Theory of operation
-------------------
`edge triton` and `edge serve` run as users run them; a process sends series after series as fast as they are taken,
another one subscribes. CPU time is that of the process of `edge serve` alone, all its threads, between the result
after the warm-up and the last one of a series. In between, this process receives the same series with a bare loop.
For `ptycho` frames a second are compared with the same graph run in this process, by ONNX Runtime alone: batches as
large as the route may send, as many threads.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge.bench.sizing import bare
from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.listener import Listener
from edge.bench.sizing.listening import Heard, Watch
from edge.bench.sizing.rig import IDENTITY, RouteText, Served, Setup, serve, triton
from edge.bench.sizing.spent import Spent
from edge.bench.sizing.wire import Case
from edge.demo.children import ChildError
from edge.inference.repository import version_folder
from edge.inference.requests import FRAME
from edge.models import ptycho
from streams import sockets

WARM_UP = 0.2
IDENTITY_IMAGES = 10_000
PTYCHO_IMAGES = 2_000
PTYCHO = RouteText("ptycho", "ptycho")
SERIES_S = 300.0
THREADS = 1
"""The default of `server.onnxruntime_threads`."""


def identity(
    folder: Path, rounds: int, scale: float, protocol: str, announced: Path | None, hear: Callable[[], None]
) -> tuple[list[Spent], list[Spent]]:
    """The rounds of the bare loop, and those of `edge serve`.

    Raises:
        ChildError, ServerError, SocketError: it could not be measured.
    """
    case = Case(protocol, (128, 128), images=_images(IDENTITY_IMAGES, scale))
    warm_up = int(WARM_UP * case.images)
    setup = Setup(protocol, (IDENTITY,))
    found: tuple[list[Spent], list[Spent]] = ([], [])
    with triton(setup, folder, announced) as file, serve(setup, folder, file) as served, sockets.context() as ctx:
        watch = Watch(served.handshake, served.pid, warm_up, case)
        with Feeder() as to_bare, Feeder() as to_ours, Listener(watch) as listener:
            for number in range(rounds + 1):
                reference = bare.receive(ctx, to_bare, Order(case), warm_up)
                ours = through(to_ours, listener, served, case, number + 1)
                if number:  # the first one warms up
                    found[0].append(reference)
                    found[1].append(ours)
                    hear()
    return found


def of_ptycho(
    folder: Path, rounds: int, scale: float, announced: Path | None, hear: Callable[[], None]
) -> tuple[list[Spent], list[Spent]]:
    """The rounds of ONNX Runtime in this process, and those of `edge serve`. Errors as from `identity`."""
    case = Case("stream-v2", (ptycho.FRAME_PX, ptycho.FRAME_PX), images=_images(PTYCHO_IMAGES, scale))
    warm_up = int(WARM_UP * case.images)
    setup = Setup(routes=(PTYCHO,))
    found: tuple[list[Spent], list[Spent]] = ([], [])
    run = in_process(case)
    with (
        triton(setup, folder, announced) as file,
        serve(setup, folder, file) as served,
        Feeder() as feeder,
        Listener(Watch(served.handshake, served.pid, warm_up)) as listener,
    ):
        for number in range(rounds + 1):
            reference = run(case.images - warm_up)
            ours = through(feeder, listener, served, case, number + 1)
            if number:
                found[0].append(reference)
                found[1].append(ours)
                hear()
    return found


def through(feeder: Feeder, listener: Listener, served: Served, case: Case, number: int) -> Spent:
    """Series `number` through `edge serve`.

    Raises:
        ChildError: it did not come through whole.
    """
    feeder.order(Order(case, number, served.frames))
    feeder.sent()
    heard = listener.heard(SERIES_S)
    problem = problem_of(heard, case)
    if problem:
        raise ChildError(f"series {number}: {problem} (see {served.log})")
    return Spent(heard.timed, heard.cpu_s, heard.wall_s)


def problem_of(heard: Heard, case: Case) -> str:
    """Why a series did not come through whole; empty where it did."""
    if heard.verdict != "complete" or heard.results != case.images:
        return f"{heard.verdict}, {heard.results} of {case.images} results; account {heard.account}"
    return f"{heard.wrong} of {heard.checked} results are wrong" if heard.wrong else ""


def in_process(case: Case) -> Callable[[int], Spent]:
    """Runs so many frames through the graph of `ptycho` here, in full batches."""
    import onnxruntime  # of the extra `server`

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the server does
    graph = version_folder(ptycho.SPEC.name) / "model.onnx"
    session: Any = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in ptycho.SPEC.outputs]
    batch = np.stack([case.picture(number) for number in range(ptycho.SPEC.max_batch)]).view(np.uint8)
    tensor = batch.reshape(ptycho.SPEC.max_batch, *case.shape, np.dtype(case.dtype).itemsize)

    def run(frames: int) -> Spent:
        batches = math.ceil(frames / len(tensor))
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for _ in range(batches):
            session.run(names, {FRAME: tensor})
        return Spent(batches * len(tensor), time.process_time() - cpu_s, time.perf_counter() - wall_s)

    return run


def _images(most: int, scale: float) -> int:
    return max(20, round(most * scale))
