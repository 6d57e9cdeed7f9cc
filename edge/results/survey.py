"""What a log holds: every result in its place by absolute image id, each key once. Reads logs, writes nothing."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from edge.results import log
from edge.results.channel import MAX_CHANNELS, MAX_ROWS, Channel, Status, model_of, storable
from edge.results.errors import ResultFileError
from streams.codecs.results import Heartbeat, Result, SeriesEnded, SeriesStarted, decode
from streams.ledger.series import EARLY_IDS
from streams.messages import CodecError, Part

MAX_ORIGINS = 1000
"""Starts of edge serve within one series that are told apart."""

MAX_REASONS = 16
"""Why results are outside of their model's range: kept of a series."""

SeriesNotice: TypeAlias = Result | SeriesStarted | SeriesEnded


class Row(NamedTuple):
    """One result in its place."""

    channel: Channel
    result: Result
    arrays: dict[str, np.ndarray]


class Survey:
    """The facts of one log; complete once `rows` is exhausted. A log tells of one series on one route."""

    def __init__(self, path: Path, upto: int | None = None) -> None:
        self.path = path
        self._upto = upto  # bytes of it; None: all that are there when it is opened
        self.facts: dict[str, Any] = {}  # about the log: what wrote it, where raw frames are
        self.first: SeriesNotice | None = None  # says which series it is
        self.started: SeriesStarted | None = None
        self.ended: SeriesEnded | None = None
        self.channels: dict[str, Channel] = {}
        self.published: Counter[str] = Counter()  # by origin, as SeriesEnded told
        self.origins: set[str] = set()  # starts of edge serve that wrote into it
        self.refused: Counter[str] = Counter()  # results that have no place, by reason
        self.untrained = 0  # results in place that are outside of what their model was trained for
        self.untrained_reasons: list[str] = []  # each once
        self._damage_bytes = 0
        self._last_damage: log.Damage | None = None
        self.size = 0
        self.first_ns = self.last_ns = 0  # published, wall clock
        self._origin: int | None = None  # images below it have no place
        self._lowest: int | None = None  # id that has a place

    def rows(self) -> Iterator[Row]:
        """The results that have a place, in the log's order, each key once.

        Raises:
            ResultFileError: no log, or one that cannot be read.
        """
        try:
            with self.path.open("rb") as file:
                for found in log.read(file, self._upto):
                    self.size = found.stop
                    if isinstance(found, log.Damage):
                        self._damage_bytes += found.stop - found.start
                        self._last_damage = found
                    elif (row := self._enter(found.parts)) is not None:
                        yield row
        except ResultFileError as error:
            raise ResultFileError(f"{self.path}: {error}") from error
        except OSError as error:
            raise ResultFileError(f"cannot read {self.path}: {error.strerror}") from error

    @property
    def series(self) -> SeriesNotice:
        """Any notice of the series, for its source, ids and route.

        Raises:
            ResultFileError: there is none.
        """
        if self.first is None:
            raise ResultFileError(f"{self.path} holds no whole record of a series: there is nothing to build a file of")
        return self.first

    @property
    def first_image(self) -> int:
        """The image of row 0: the first of the series, or an earlier one that came. Where nobody said: 0, if near.

        Pulse ids of accelerators count for years, so row and image id differ.
        """
        told = [notice.first_image for notice in (self.started, self.ended) if notice is not None]
        if self._lowest is not None:
            told += [self._lowest] if told or self._lowest >= MAX_ROWS else [0]
        return max(min(told, default=0), self._origin or 0)

    @property
    def position_units(self) -> dict[str, str]:
        """Units by axis, where the start message's user data holds `{"position_units": {"x": "mm", ...}}`."""
        user_data = self.started.user_data if self.started else None
        units = user_data.get("position_units") if isinstance(user_data, dict) else None
        named = units.items() if isinstance(units, dict) else ()
        return {axis: unit for axis, unit in named if isinstance(axis, str) and isinstance(unit, str)}

    @property
    def torn_bytes(self) -> int:
        """Bytes at the end that hold no whole record: what was being written when the writer died."""
        last = self._last_damage
        return last.stop - last.start if last is not None and last.stop == self.size else 0

    @property
    def damaged_bytes(self) -> int:
        """Bytes before whole records that hold none: the storage changed them."""
        return self._damage_bytes - self.torn_bytes

    def _enter(self, parts: list[memoryview]) -> Row | None:
        if len(parts) == 1:
            self.facts = self.facts or _facts(parts[0])
            return None
        try:
            notice, arrays = decode(parts)
        except CodecError as error:
            self.refused[error.reason] += 1
            return None
        if isinstance(notice, Heartbeat) or not self._belongs(notice):
            self.refused["foreign"] += 1
            return None
        self._date(notice)
        if isinstance(notice, Result):
            return self._place(notice, arrays)
        if isinstance(notice, SeriesEnded):
            self.ended = notice
            if notice.origin in self.origins:
                self.published[notice.origin] = _count(notice.account.get("published"))
        elif self.started is None or (notice.announced and not self.started.announced):
            self.started = notice
            self._begin(notice.first_image)
        return None

    def _belongs(self, notice: SeriesNotice) -> bool:
        first = self.first = self.first or notice
        return (notice.source, notice.series_uid, notice.route) == (first.source, first.series_uid, first.route)

    def _date(self, notice: SeriesNotice) -> None:
        if len(self.origins) < MAX_ORIGINS:
            self.origins.add(notice.origin)
        self.first_ns = min(self.first_ns or notice.published_ns, notice.published_ns)
        self.last_ns = max(self.last_ns, notice.published_ns)

    def _begin(self, first_image: int) -> None:
        """Make room from here on, and for images of before that the ledger takes, too."""
        if self._origin is None:
            self._origin = max(0, first_image - EARLY_IDS)

    def _place(self, result: Result, arrays: dict[str, np.ndarray]) -> Row | None:
        self._begin(0 if result.image_id < MAX_ROWS else result.image_id)
        channel = self._channel(result)
        if channel is None or not 0 <= result.image_id - channel.origin < MAX_ROWS:
            self.refused["no_room"] += 1
            return None
        if channel.known(result.image_id) != Status.MISSING:
            self.refused["repeat"] += 1
            return None
        self._lowest = min(result.image_id, result.image_id if self._lowest is None else self._lowest)
        if not storable(result.specs) or result.specs != channel.specs or model_of(result) != channel.model:
            channel.mark(result.image_id, Status.MISFIT)
            self.refused["misfit"] += 1
            return None
        channel.mark(result.image_id, Status.PUBLISHED)
        channel.name_all(result)
        channel.stored += 1
        if result.untrained:
            self._label(result.untrained)
        return Row(channel, result, arrays)

    def _label(self, reasons: tuple[str, ...]) -> None:
        self.untrained += 1
        new = [reason for reason in reasons if reason not in self.untrained_reasons]
        self.untrained_reasons += new[: MAX_REASONS - len(self.untrained_reasons)]

    def _channel(self, result: Result) -> Channel | None:
        known = self.channels.get(result.channel)
        if known is None and len(self.channels) < MAX_CHANNELS:
            known = Channel(result.channel, result.specs, model_of(result), self._origin or 0)
            self.channels[result.channel] = known
        return known


def survey(path: Path) -> Survey:
    """Read a whole log for its facts; memory: one record, and a byte an image.

    Raises:
        ResultFileError: it cannot be read, or tells of no series.
    """
    found = Survey(path)
    for _ in found.rows():
        pass
    _ = found.series
    return found


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _facts(part: Part) -> dict[str, Any]:
    try:
        return msgspec.json.decode(part, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def facts_record(facts: dict[str, Any]) -> list[Part]:
    """The record that begins a log: JSON, a single part."""
    return log.pack([json.dumps(facts).encode()])
