"""How often an image is copied in `edge serve`: counted from outside, by a library that stands in for memcpy.

The library (`copies.c`) is compiled here and preloaded; first it has to count known copies right. That an image
is decompressed is no copy, nor what the kernel hands over.
"""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edge.bench.sizing.feeder import Feeder
from edge.bench.sizing.listener import Listener
from edge.bench.sizing.listening import Watch
from edge.bench.sizing.pipeline import through
from edge.bench.sizing.rig import IDENTITY, Served, Setup, serve, triton
from edge.bench.sizing.wire import Case
from edge.demo.children import ChildError
from streams.messages import Compression

SHIM = Path(__file__).with_name("copies.c")
COUNTERS = struct.Struct("=QQ")
COMPILE_S = 60.0
IMAGES = 200
CASES = {
    "2048": Case("stream-v2", (2048, 2048), images=IMAGES),
    "1024_bslz4": Case("stream-v2", (1024, 1024), compression=Compression.BSLZ4, images=IMAGES),
}
"""By the last part of their rows' names."""

KNOWN = 17
SELF_TEST = """
import sys
import numpy as np
times, nbytes = map(int, sys.argv[1:])
image, slot = np.ones(nbytes, np.uint8), np.zeros(nbytes, np.uint8)
for _ in range(times):
    slot[...] = image
    image.tobytes()
"""


class NoCompiler(RuntimeError):
    """There is no C compiler, or it refuses, or the library does not count here; the text says what."""


@dataclass(frozen=True)
class Copied:
    """What was copied while so many frames went through."""

    frames: int
    calls: int  # of at least half an image
    nbytes: int  # in calls of 4 KiB and more
    image_nbytes: int

    @property
    def per_frame(self) -> float:
        """Copies of an image a frame."""
        return self.calls / self.frames

    @property
    def images_per_frame(self) -> float:
        """All bytes that were copied, as images a frame: it tells of copies in pieces."""
        return self.nbytes / self.image_nbytes / self.frames


def compiled(folder: Path) -> Path:
    """The library, which counts right.

    Raises:
        NoCompiler: see there.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("there is no C compiler (cc, gcc) to count copies with")
    library = folder / "copies.so"
    command = [compiler, "-O2", "-fPIC", "-shared", "-fno-builtin", "-o", str(library), str(SHIM), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_S, check=False)
    if done.returncode:
        raise NoCompiler(f"{compiler} refuses {SHIM.name}: {done.stderr.strip().splitlines()[-1:]}")
    counted, wanted = known_copies(library, folder, KNOWN), 2 * KNOWN
    if counted != wanted:
        raise NoCompiler(
            f"of {wanted} copies that numpy made, {counted} were counted: this C library is not understood"
        )
    return library


def known_copies(library: Path, folder: Path, times: int, nbytes: int = 1 << 20) -> int:
    """Copies that are counted in a process that makes twice `times`: into another array, and into bytes."""
    environment = os.environ | preloaded(library, folder / "known", nbytes)
    line = [sys.executable, "-c", SELF_TEST, str(times), str(nbytes)]
    with subprocess.Popen(line, env=environment) as process:
        process.wait(COMPILE_S)
    return read(folder / "known", process.pid)[0]


def preloaded(library: Path, counters: Path, image_nbytes: int) -> dict[str, str]:
    """The environment of a process that counts copies of half an image and more in `counters`.PID."""
    return {
        "LD_PRELOAD": str(library),
        "EDGE_BENCH_COPIES": str(counters),
        "EDGE_BENCH_COPY_BYTES": str(image_nbytes // 2),
    }


def read(counters: Path, pid: int) -> tuple[int, int]:
    """Calls and bytes so far.

    Raises:
        NoCompiler: the process does not count.
    """
    try:
        return COUNTERS.unpack(counters.with_name(f"{counters.name}.{pid}").read_bytes())
    except (OSError, struct.error) as error:
        raise NoCompiler(f"process {pid} counts no copies: {error}") from error


def measure(folder: Path, images: int, announced: Path | None, hear: Callable[[], None]) -> dict[str, Copied]:
    """Copies in `edge serve` while so many images go through `identity`, after as many that are not counted.

    Raises:
        NoCompiler: they cannot be counted here.
        ChildError: they did not go through.
    """
    library = compiled(folder)
    found = {}
    with triton(Setup(), folder, announced) as file:
        for name, case in CASES.items():
            chosen = Case(case.protocol, case.shape, case.dtype, case.compression, images)
            environment = preloaded(library, folder / f"copies-{name}", case.nbytes)
            with ExitStack() as stack:
                served = stack.enter_context(serve(Setup(routes=(IDENTITY,)), folder, file, environment))
                found[name] = _counted(stack, served, chosen, folder / f"copies-{name}")
            hear()
    return found


def _counted(stack: ExitStack, served: Served, case: Case, counters: Path) -> Copied:
    feeder = stack.enter_context(Feeder())
    listener = stack.enter_context(Listener(Watch(served.handshake, served.pid, 0, case)))
    through(feeder, listener, served, case, 1)
    before = read(counters, served.pid)
    through(feeder, listener, served, case, 2)
    after = read(counters, served.pid)
    if case.images < 1:
        raise ChildError("no image was sent")
    return Copied(case.images, after[0] - before[0], after[1] - before[1], case.nbytes)
