"""Scans come in, and versions of a model with them: fine-tuned, judged, deployed where they are better, rolled back.

    scan complete -> is the version that serves worse than the one before, on this scan? -> yes: it is set aside
                  -> fine-tune it on the scan's training lines -> judge both on the held-out lines
                  -> better by more than chance: the next version, in place by one rename; else nothing changes

Held-out lines lie a patch away from the lines that were trained on, so no piece of the object is in both. They must
cover a few patches of it, or nothing is decided (`edge.training.deciding` says what is more than chance). What was
decided is in a log. Killed at any moment, it goes on where it was: a fit from its checkpoint, and of a version that was
being put in place the log and the folder say whether it is.

What serves changes with the next start of a server: one that runs keeps what it has.
"""

import fcntl
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge.inference import deploying
from edge.inference import own as owned
from edge.inference.errors import RepositoryError
from edge.inference.own import Version
from edge.models.ptycho import GEOMETRY
from edge.scanfiles import Scan, ScanFileError, open_scan
from edge.training.arriving import Arriving, FileFacts, has_name, look
from edge.training.deciding import LEAST_TILES, Gain, gain, judging_split, side_of_check
from edge.training.decisions import ENDS, Decision, DecisionLog
from edge.training.scan_deviance import VersionError
from edge.training.scan_probe import ScanError, pixel_positions
from edge.training.split import Split

LOG = logging.getLogger(__name__)

LOG_FILE = "decisions.jsonl"
LOCK_FILE = ".watching.lock"
WORK = ".tuning-"
DONE_FILE = "tuned"
"""Made when a fine-tuning has written all that belongs to its version."""

Tune = Callable[[Path, Scan, NDArray[np.intp], Path], None]
"""Goes on from a version folder with some frames of a scan, and writes another version folder."""

Judge = Callable[[Path, Scan, NDArray[np.intp]], NDArray[np.float64]]
"""The deviances of some frames of a scan by a version; `edge.training.scan_deviance`."""

UNFIT = (ScanError, ScanFileError, ValueError)
"""What makes one scan unfit, and leaves everything as it was. A full disk is no fault of a scan: it ends the watch.

Neither is a damaged version that serves (`VersionError`): the scans that wait for its repair shall still be used.
"""


class WatchError(RuntimeError):
    """It cannot watch; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where versions of one model come from and go to."""

    model: str
    scans: Path
    own: Path  # models of one's own

    @property
    def folder(self) -> Path:
        """Of the model's versions."""
        return self.own / self.model


class Watching:
    """The versions of one model, and the scans that make them.

    Args:
        place: where.
        tune: makes a version of another one and a scan.
        judge: says how well a version explains frames.
        still_s: how long a file must not have changed to be complete.
        hear: told of every decision.
    """

    def __init__(
        self, place: Place, tune: Tune, judge: Judge, still_s: float, hear: Callable[[Decision], None]
    ) -> None:
        self._place, self._tune, self._judge, self._hear = place, tune, judge, hear
        self._log = DecisionLog(place.folder / LOG_FILE)
        self._odd: set[str] = set()
        self._mend()
        self._arriving = Arriving(still_s, self._log.done())

    def turn(self) -> bool:
        """Deal with the oldest complete scan; whether there was one.

        Raises WatchError: the folder, or the version that serves, cannot be read.
        """
        try:
            found = look(self._place.scans)
        except OSError as error:
            raise WatchError(f"{self._place.scans} cannot be read: {error.strerror}") from error
        for file in found:
            if not has_name(file) and file.name not in self._odd:
                self._odd.add(file.name)
                LOG.warning("the name of %r is no text: rename it, or it is not used", file.name)
        for file in self._arriving.complete(found, time.monotonic()):
            self._deal(file)
            self._arriving.finish(file)
            return True
        return False

    def _deal(self, file: FileFacts) -> None:
        began = time.monotonic()
        try:
            with open_scan(self._place.scans / file.name) as scan:
                decision = self._decide(file, scan)
        except UNFIT as error:
            decision = self._of(file, "refused", why=str(error))
        self._say(replace(decision, seconds=round(time.monotonic() - began, 1)))
        self._sweep()

    def _decide(self, file: FileFacts, scan: Scan) -> Decision:
        split, tile = self._split(scan)
        if (count := int(tile.max()) + 1) < LEAST_TILES:
            why = f"its held-out lines cover {count} patches of the object, of {LEAST_TILES} needed to judge by"
            return self._of(file, "kept", base=owned.serving(self._place.model, self._place.own).number, why=why)
        serving = self._checked(file, scan, split, tile)
        trained = len(split.training)
        with _blaming(serving):
            before = self._judge(serving.folder, scan, split.test)
            made = self._tuned(file, scan, split, serving)
        found = gain(before, self._judge(made, scan, split.test), tile)
        if found.standing != "better":
            why = "worse than what serves" if found.standing == "worse" else "not surely better than what serves"
            return self._of(file, "kept", base=serving.number, gain=found, trained=trained, why=why)
        if owned.serving(self._place.model, self._place.own) != serving:
            why = f"another version serves than {serving.number}, from which it was made"
            return self._of(file, "kept", base=serving.number, gain=found, trained=trained, why=why)
        number = self._deploy(file, made, serving, found)
        return self._of(file, "deployed", base=serving.number, version=number, gain=found, trained=trained)

    def _split(self, scan: Scan) -> tuple[Split, NDArray[np.intp]]:
        frame_px = GEOMETRY[self._place.model].frame_px
        if scan.shape != (frame_px, frame_px):
            raise ScanError(f"the model takes frames of {frame_px} x {frame_px}, the scan has {scan.shape}")
        return judging_split(pixel_positions(scan), frame_px, GEOMETRY[self._place.model].patch_px)

    def _checked(self, file: FileFacts, scan: Scan, split: Split, tile: NDArray[np.intp]) -> Version:
        """The version that serves, after the test of a scan that neither it nor the one before it has seen."""
        serving = owned.serving(self._place.model, self._place.own)
        earlier = self._earlier(serving)
        if earlier is None:
            return serving
        with _blaming(earlier):
            before = self._judge(earlier.folder, scan, split.test)
        with _blaming(serving):
            after = self._judge(serving.folder, scan, split.test)
        found = gain(before, after, tile, side_of_check(self._log.checks(earlier.number, serving.number)))
        if found.standing != "worse":
            self._say(self._of(file, "confirmed", base=earlier.number, version=serving.number, gain=found))
            return serving
        why = f"on this scan version {earlier.number} explains the frames better"
        decision = self._of(file, "rolling_back", base=earlier.number, version=serving.number, gain=found, why=why)
        self._log.append(decision)
        deploying.withdraw(serving)
        self._say(replace(decision, what="rolled_back"))
        return owned.serving(self._place.model, self._place.own)

    def _earlier(self, serving: Version) -> Version | None:
        """The version that was replaced by what serves, where that was deployed here and it is still there."""
        if not serving.own:
            return None
        number = self._log.predecessor(serving.number)
        every = reversed(owned.versions_of(self._place.model, self._place.own))  # one's own before a shipped one
        return next((one for one in every if one.number == number and not one.withdrawn), None)

    def _tuned(self, file: FileFacts, scan: Scan, split: Split, serving: Version) -> Path:
        """A folder with the fine-tuned version; what a killed process had begun is gone on with."""
        key = f"{file} {serving.sha256}".encode()
        made = self._place.folder / f"{WORK}{sha256(key).hexdigest()[:12]}"
        self._sweep(made)
        if not (made / DONE_FILE).exists():
            made.mkdir(exist_ok=True)
            self._tune(serving.folder, scan, split.training, made)
            deploying.sync(made)  # or after a power cut the mark is there and what it stands for is not
            (made / DONE_FILE).touch()
        return made

    def _deploy(self, file: FileFacts, made: Path, serving: Version, found: Gain) -> int:
        number = owned.next_number(self._place.model, self._place.own)
        self._log.append(self._of(file, "deploying", base=serving.number, version=number, gain=found))
        deploying.put_in_place(made, self._place.folder / str(number))
        return number

    def _sweep(self, but: Path | None = None) -> None:
        """What fine-tunings of scans that were dealt with have left."""
        for left in self._place.folder.glob(f"{WORK}*"):
            if left != but:
                shutil.rmtree(left)

    def _mend(self) -> None:
        """A process was killed while it put a version in place or set one aside: it is done, or nothing was changed."""
        begun = self._log.cut_short()
        if begun is None:
            return
        stands = (self._place.folder / str(begun.version)).is_dir()
        aside = (self._place.folder / f"{begun.version}{owned.WITHDRAWN}").is_dir()
        # One that stands aside had been in place: whoever set it aside by hand did not ask for it again.
        if aside or (stands and begun.what == "deploying"):
            self._say(replace(begun, what=ENDS[begun.what], why="told after a process was cut off"))

    def _of(self, file: FileFacts, what: str, **facts: object) -> Decision:
        return Decision(what, self._place.model, file, **facts)  # pyright: ignore[reportArgumentType]

    def _say(self, decision: Decision) -> None:
        self._hear(self._log.append(decision))


@contextmanager
def _blaming(version: Version) -> Iterator[None]:
    """That a version cannot be used is said of it, and not of a scan."""
    try:
        yield
    except VersionError as error:
        raise WatchError(
            f"version {version.number} of {version.model} cannot be used: {error}: bring it back from a copy, or set "
            "it aside (`edge models rollback`)"
        ) from error


@contextmanager
def watching(
    place: Place, tune: Tune, judge: Judge, still_s: float, hear: Callable[[Decision], None]
) -> Iterator[Watching]:
    """The only one for these versions. Raises WatchError where there is another one, or a folder cannot be used."""
    for folder in (place.scans, place.own):
        if not folder.is_dir():
            raise WatchError(f"there is no folder {folder}: make it, or mount its disk")
    try:
        place.folder.mkdir(exist_ok=True)
        with (place.folder / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise WatchError(f"another process makes versions in {place.folder}") from None
            yield Watching(place, tune, judge, still_s, hear)
    except RepositoryError as error:
        raise WatchError(str(error)) from error
    except OSError as error:
        raise WatchError(f"{error.filename or place.folder}: {error.strerror or error}") from error
