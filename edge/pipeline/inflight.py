"""How many requests of a route are at the server at the same time: the fewest that keep it busy.

With one request at the server it idles while an answer travels and the next batch is put together; with more than it
works on at once, images only wait there instead of here, and cannot be dropped any more. How many it works on
(instances of the model, copies beside computing) is its own affair, so it is found out: now and then one more and one
fewer are tried, and what takes as many images a second with fewer requests stays.
"""

from typing import Literal

FIRST = 2
"""One that is worked on, one that waits."""

WINDOW = 24
"""Answers over which a rate is measured."""

REST = 16
"""Windows between two trials."""

GAIN = 1.05
"""One more request must bring so much, or it is not worth its latency; one fewer may cost less than that."""


class InFlight:
    """Of one route. Rates count only while images wait: otherwise it is the detector that is measured.

    Args:
        most: never more than these.
    """

    def __init__(self, most: int) -> None:
        self.limit = min(FIRST, most)
        self._most = most
        self._trial: Literal[-1, 0, 1] = 0  # what is tried now
        self._next: Literal[-1, 1] = 1
        self._before = 0.0  # images a second without it
        self._rest = 0
        self._answers = self._images = 0
        self._since_ns = 0

    def answered(self, images: int, waiting: bool, now_ns: int) -> None:
        """A request of `images` images was answered; `waiting`: whether the next batch is full already."""
        if not waiting or not self._since_ns:
            self._restart(now_ns if waiting else 0)
            return
        self._answers += 1
        self._images += images
        if self._answers >= WINDOW:
            rate = self._images / max(1, now_ns - self._since_ns)
            self._restart(now_ns)
            self._judge(rate)

    def _restart(self, now_ns: int) -> None:
        self._answers = self._images = 0
        self._since_ns = now_ns

    def _judge(self, rate: float) -> None:
        if self._trial:
            better = rate > self._before * GAIN if self._trial > 0 else rate * GAIN > self._before
            if not better:
                self.limit -= self._trial
            self._next = self._trial if better else (-1 if self._trial > 0 else 1)
            self._trial, self._rest = 0, 0 if better else REST
            return
        if self._rest:
            self._rest -= 1
            return
        for trial in (self._next, -self._next):
            if 1 <= self.limit + trial <= self._most:
                self._trial = 1 if trial > 0 else -1
                self._before = rate
                self.limit += trial
                return
