"""Which arming of the position box belongs to which series of the detector.

Theory of operation
-------------------
One arming of the box (from its start message to its stop, or to the next start) numbers its samples from 0, and names
no series. The messages of box and detector come over two connections, either of which may be behind, so the order in
which they are heard proves little. One thing does: before the first trigger both are armed, and nothing happens.

    An arming belongs to a series where, at a moment when the detector's queue was seen empty, the series was open and
    had no image, and the arming was on and had no sample.

Then sample 0 is of image 0. Everything else is told apart by the reason why there is no position:

    heard                                                the images of the series are
    the box starts when there are images already         LATE_START: no telling which image its first sample is of
    the box does not start, or the detector's queue was  NOT_ARMED
      never empty between the start and an image
    the box has samples before the series is open        NOT_ARMED: they were taken before it
    the box starts anew in the series                    RESTARTED from there on (STOPPED, where it was stopped before);
                                                           the new arming is nobody's
    the series has no start                              UNANNOUNCED: it may be left over from an aborted one

What cannot be seen: a stop, a start and at least as many messages as came before, all lost in one piece (messages with
samples do not name their arming); and a box started late in a series whose images were all lost until then.
"""

from collections.abc import Callable

from streams.ledger.series import Series, State
from streams.positions.headers import Missing, Verdict, Why
from streams.positions.samples import Armed, BoxMessage, PositionJoiner, Samples


class ArmingBook:
    """The armings of one position box, by series of one detector.

    Args:
        make: makes what joins the samples of one arming.
    """

    def __init__(self, make: Callable[[], PositionJoiner]) -> None:
        self._make = make
        self._announced: dict[str, Series] = {}
        self._joined: dict[str, PositionJoiner] = {}
        self._late: set[str] = set()  # series during which the box was started
        self._newest: Series | None = None
        self._current: PositionJoiner | None = None  # whose samples come now
        self._claimed = False

    @property
    def asks(self) -> bool:
        """Whether both are armed and nothing came as yet: then it matters whether the detector's queue is empty."""
        series, joiner = self._newest, self._current
        if joiner is None or joiner.begun or joiner.over is not None or self._claimed:
            return False
        if series is None or series.state is not State.OPEN or series.counts().received:
            return False
        before = self._joined.get(series.uid)
        return before is None or not before.begun

    def quiet(self) -> None:
        """The detector's queue is empty, and all that the box had sent before was entered."""
        if self.asks and self._newest is not None and self._current is not None:
            self._joined[self._newest.uid] = self._current
            self._claimed = True

    def opened(self, series: Series) -> None:
        """A series was opened, or its start came after its first images."""
        if series.announced:
            self._announced[series.uid] = self._newest = series

    def enter(self, message: BoxMessage) -> bool:
        """One message of the box. False where it belongs to no arming whose start was heard."""
        if isinstance(message, Armed):
            self._start()
            return True
        if self._current is None:
            return False
        if isinstance(message, Samples):
            return self._current.samples(message)
        self._current.stop(message.messages)
        return True

    def position(self, uid: str, image_id: int) -> Verdict:
        """What is known of the position of one image."""
        joiner = self._joined.get(uid)
        if joiner is not None:
            return joiner.position(image_id)
        if uid not in self._announced:
            return Missing(Why.UNANNOUNCED)
        return Missing(Why.LATE_START if uid in self._late else Why.NOT_ARMED)

    def forget(self, uid: str) -> None:
        """The account of this series is final."""
        self._announced.pop(uid, None)
        self._joined.pop(uid, None)
        self._late.discard(uid)

    def _start(self) -> None:
        if self._current is not None:
            self._current.restart()
        self._current, self._claimed = self._make(), False
        series = self._newest
        if series is not None and series.state is State.OPEN and series.counts().received:
            self._late.add(series.uid)
