"""Keeps a process responsive that runs a plan, an agent and much else in threads of one interpreter."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH_S = 0.001
"""How long a thread keeps the interpreter when another wants it; Python's own default is 5 ms."""


@contextmanager
def responsive() -> Iterator[None]:
    """No thread of this process keeps the others waiting for long, so that a pause is honoured soon.

    To be entered when everything is imported and made. A full garbage collection looks through all of that, some
    200,000 objects: 140 ms in which nothing else runs. Here they are frozen, and only what is new is looked through.
    And a thread that computes (the agent learns) hands over sooner: a request is handed over several times on its way.
    """
    gc.collect()
    gc.freeze()
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
        gc.unfreeze()
