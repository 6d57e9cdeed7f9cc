"""Series for streams that have none: opened when images come, and again when the detector began anew."""

from collections.abc import Hashable
from typing import Any, NamedTuple

from streams.messages import CodecError, SeriesStart

JUMP = 64
"""Images may overtake each other by so many places; an id that lies further back is one of another series."""

NANOSECOND = 1_000_000_000


class Entered(NamedTuple):
    """The series of an image, and the start that is to be told before it."""

    uid: str
    series_id: int
    start: list[SeriesStart]  # one or none


class _Series(NamedTuple):
    uid: str
    series_id: int
    layout: Hashable
    first: int
    first_s: float | None


class SeriesOpener:
    """Remembers which series the images of one source belong to at present.

    A detector that begins anew counts from its first id again, and so does a facility's clock that is set back. Such
    an image is told from one that was repeated or overtaken on the way by its time: those were taken no later than the
    newest one. Where images carry no time, or all the same, only a jump back by more than `JUMP` ids is a beginning.

    Images of the series before may still be in a queue. Ids and times ascend together, so one that was taken before the
    first of the present series, and yet has no lower id, belongs to the former. Where that one is not known, as for a
    receiver that was started in between, it is refused: in the present series it would be a hole as long as its id is
    high, and a series of its own would close the present one.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._present: _Series | None = None
        self._former: _Series | None = None
        self._newest: tuple[int, float | None] = (0, None)
        self._opened_ns = 0

    @property
    def layout(self) -> Hashable:
        """Of the series that images belong to at present; None where there is none."""
        return self._present.layout if self._present else None

    def enter(
        self,
        image_id: int,
        taken_s: float | None,
        received_ns: int,
        layout: Hashable = None,
        **facts: Any,
    ) -> Entered:
        """Enter the (first) image of a message.

        Args:
            taken_s: when the detector says that it was taken, seconds of any epoch.
            layout: what images of one series have in common, and which makes their ids comparable.
            facts: fields of `SeriesStart`: channels, shape, dtype, header.

        Raises:
            CodecError: it is left of a series that is not known.
        """
        series = self._series_of(image_id, taken_s, layout)
        if series is None:
            return self._open(image_id, taken_s, received_ns, layout, facts)
        return Entered(series.uid, series.series_id, [])

    def known(self, image_id: int, taken_s: float | None, layout: Hashable = None) -> Entered | None:
        """The series of a message that has no image of this id; None where it belongs to none. It opens none."""
        try:
            series = self._series_of(image_id, taken_s, layout)
        except CodecError:
            return None
        return Entered(series.uid, series.series_id, []) if series else None

    def _series_of(self, image_id: int, taken_s: float | None, layout: Hashable) -> _Series | None:
        """None: of another one than is known."""
        present, former = self._present, self._former
        if present and _is_older(image_id, taken_s, layout, present):
            if former and former.layout == layout:
                return former
            if layout == present.layout:
                raise CodecError(
                    "malformed",
                    f"image {image_id} was taken before image {present.first}, which came first, and is not before it: "
                    "left of an earlier series, or the sender's clock was set back",
                )
        if present is None or layout != present.layout:
            return None
        again = image_id <= present.first and _is_later(taken_s, present.first_s)  # whatever the clock said in between
        if again or _began_anew(image_id, taken_s, *self._newest):
            return None
        if image_id > self._newest[0]:
            self._newest = (image_id, taken_s)
        return present

    def closed(self, series_uid: str) -> None:
        """The ledger closed a series: if it is the present one, what comes next begins another."""
        if self._present is not None and self._present.uid == series_uid:
            self._former, self._present = self._present, None

    def _open(
        self, image_id: int, taken_s: float | None, received_ns: int, layout: Hashable, facts: dict[str, Any]
    ) -> Entered:
        self._opened_ns = max(received_ns, self._opened_ns + 1)  # so that no two have one name
        uid, series_id = f"{self._opened_ns}_{image_id}", self._opened_ns // NANOSECOND
        self._former = self._present or self._former
        self._present = _Series(uid, series_id, layout, image_id, taken_s)
        self._newest = (image_id, taken_s)
        told = {"channels": (), **facts}
        return Entered(uid, series_id, [SeriesStart(self._source, uid, series_id, None, first_image=image_id, **told)])


def _is_later(taken_s: float | None, than_s: float | None) -> bool:
    return taken_s is not None and than_s is not None and taken_s > than_s


def _is_older(image_id: int, taken_s: float | None, layout: Hashable, than: _Series) -> bool:
    return _is_later(than.first_s, taken_s) and (image_id >= than.first or layout != than.layout)


def _began_anew(image_id: int, taken_s: float | None, newest_id: int, newest_s: float | None) -> bool:
    if image_id > newest_id:
        return False
    if taken_s is None or newest_s is None or (taken_s == newest_s and image_id != newest_id):
        return image_id < newest_id - JUMP
    return taken_s > newest_s
