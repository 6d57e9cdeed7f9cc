"""Images into slots by threads beside the serving loop's, while that one receives and sends.

A thread is handed a job and gives nothing back but the note in it that it is done. Decompression releases the GIL;
small images and such as came without compression are not worth the change of threads.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.conditioning.selection import Selection
from edge.pipeline.filling import Filling
from edge.pipeline.preparing import Shot
from streams.messages import CodecError, Compression

WORTH_NBYTES = 128 << 10
"""Smaller images are decompressed before a thread would have woken up."""


class Job(msgspec.Struct, gc=False):
    """One image, and the slots that it goes to."""

    shot: Shot
    whole: NDArray[np.uint8] | None  # the slot for all of it
    parts: Sequence[tuple[Selection, NDArray[np.uint8]]]  # selections, and the slot for each
    nbytes: int  # of the image
    error: CodecError | None = None
    done: bool = False

    def run(self, filling: Filling) -> None:
        """Fill the slots; what is wrong with the image is noted."""
        try:
            filling.fill(self.shot, self.whole, self.parts)
        except CodecError as error:
            self.error = error
        self.done = True

    @property
    def worth_a_thread(self) -> bool:
        compressed = self.shot.frame.compression is not Compression.NONE
        return (compressed or self.shot.conditioner is not None) and self.nbytes >= WORTH_NBYTES


class Decompression:
    """Threads that fill slots; a context manager. Without threads every job is done at once, by the caller.

    Args:
        threads: how many.
        done: called by a thread after each job; it must only wake somebody.
    """

    def __init__(self, threads: int = 0, done: Callable[[], None] = lambda: None) -> None:
        self._done = done
        self._own = Filling()
        self._fillings = [Filling() for _ in range(threads)]
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, args=(filling,), name=f"decompression-{at}", daemon=True)
            for at, filling in enumerate(self._fillings)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    @property
    def copied(self) -> int:
        """Images that were copied once more, for the selection of a route."""
        return self._own.copied + sum(filling.copied for filling in self._fillings)

    def take(self, job: Job) -> None:
        """Do `job`, now or in a thread."""
        if self._threads and job.worth_a_thread:
            self._jobs.put(job)
        else:
            job.run(self._own)

    def _work(self, filling: Filling) -> None:
        while (job := self._jobs.get()) is not None:
            job.run(filling)
            self._done()
