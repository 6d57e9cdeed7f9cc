"""Readers with the defects that the fuzzer is there to find: every hundredth input meets one."""

import ctypes
import os
import time
from collections.abc import Callable, Sequence

from edge.bench.fuzz_target import Feed, Taken, Target
from streams.messages import CodecError, Part


def targets() -> dict[str, Target]:
    return {
        "raises": _target(_raise),
        "segfaults": _target(_segfault),
        "exits": _target(lambda: os._exit(3)),
        "hangs": _target(lambda: time.sleep(600)),
        "is slow": _target(_work),
        "allocates": _target(lambda: bytearray(64 << 20)),
        "allocates without end": _target(lambda: bytearray(8 << 30)),
        "is sound": _target(lambda: None),
    }


def _target(defect: Callable[[], object]) -> Target:
    def fresh() -> Feed:
        def feed(parts: Sequence[Part]) -> Taken:
            if sum(map(len, parts)) > 18 and bytes(parts[0][:2]) == b"{ ":
                raise CodecError("malformed", "as promised")
            if len(parts) == 3:  # honest ones have two
                defect()
            return Taken()

        return feed

    return Target(lambda: [[b'{"a": 1}', b"payload"]], fresh)


def _raise() -> None:
    raise KeyError("what is not there")


def _segfault() -> None:
    ctypes.string_at(8)


def _work() -> None:
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass
