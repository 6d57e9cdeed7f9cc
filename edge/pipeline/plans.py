"""What becomes of the images of a series: which routes take those of one channel, shape and type, and which cannot."""

from collections.abc import Sequence
from copy import copy
from typing import TypeAlias

import numpy as np
from msgspec.structs import replace

from edge.pipeline.account import RouteAccount
from edge.pipeline.dispatch import RouteRunner
from edge.pipeline.record import SeriesRecord
from edge.pipeline.refusal import refusal_of
from streams.messages import Frame

Kind: TypeAlias = tuple[str, tuple[int, int], str]
"""Channel, shape (height, width) and wire type of images that are treated alike."""

MOST_PLANS = 256
"""Kinds of images of one series whose plan is remembered: a detector has a few."""


class Plan:
    """Of images of one kind of one series. Made once, so that an image costs no more than looking it up.

    Attributes:
        frame: one of them, without its bytes.
        itemsize: bytes a pixel.
        accepting: accounts of the routes that want them, those that follow other routes included.
        declining: accounts, and names, of the routes that do not.
        refused: routes that want them and cannot take them, with reason and detail.
        able: routes that want them and can.
        everyone: all routes.
        runners: those that get them at once.
        expected: names of those that get them after another one, where its result says so.
        dropping: those of the runners that drop images.
        patient: whether one of them has its source wait instead.
    """

    def __init__(self, frame: Frame, record: SeriesRecord, runners: Sequence[RouteRunner]) -> None:
        self.frame = replace(frame, blob=b"", user_data=None)  # they would keep its message in memory
        self.itemsize = np.dtype(frame.dtype).itemsize
        self.everyone = tuple(runners)
        self.accepting: list[RouteAccount] = []
        self.declining: list[tuple[RouteAccount, str]] = []
        self.refused: list[tuple[RouteRunner, str, str]] = []
        self.able: list[RouteRunner] = []
        for runner in runners:
            account = record.accounts.get(runner.route.name)
            if account is None:  # a route of other sources
                continue
            if not runner.route.wants(frame):
                self.declining.append((account, runner.route.name))
                continue
            self.accepting.append(account)
            refusal = refusal_of(frame, runner)
            if refusal is None:
                self.able.append(runner)
            else:
                self.refused.append((runner, *refusal))
        self._subsets: dict[tuple[RouteRunner, ...], Plan] = {}
        self._decide(tuple(runner for runner in self.able if not runner.route.after))

    @property
    def orphaned(self) -> list[RouteRunner]:
        """Able routes that follow one that is not."""
        return [runner for runner in self.able if runner.route.after and runner.route.name not in self.expected]

    def behind(self, runners: Sequence[RouteRunner]) -> set[str]:
        """Names of the able routes that get an image only where all of `runners` that they follow have a result."""
        names = {runner.route.name for runner in runners}
        found: set[str] = set()
        while more := {one.route.name for one in self.able if one.route.after in names | found} - found:
            found |= more
        return found

    def only(self, runners: Sequence[RouteRunner]) -> "Plan":
        """The same, but so that some of the able routes get the images at once, and others none."""
        key = tuple(runners)
        if key == self.runners:
            return self
        subset = self._subsets.get(key)
        if subset is None:
            subset = self._subsets[key] = copy(self)
            subset._decide(key)
        return subset

    def _decide(self, runners: tuple[RouteRunner, ...]) -> None:
        self.runners = runners
        self.dropping = tuple(runner for runner in runners if runner.policy.drops)
        self.patient = len(self.dropping) < len(runners)
        reached = self.behind(runners)
        self.expected = tuple(one.route.name for one in self.able if one.route.name in reached and one not in runners)
