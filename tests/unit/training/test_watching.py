"""From a scan to a version that serves, or to none: with versions that are one number, and judged by it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.inference.deploying import withdraw
from edge.inference.own import serving
from edge.models.ptycho import FRAME_PX
from edge.scanfiles import Scan
from edge.training.decisions import Decision
from edge.training.scan_deviance import VersionError
from edge.training.watching import DONE_FILE, LOG_FILE, WORK, Place, WatchError, Watching, watching

MODEL = "ptycho"
QUALITY = "quality"
"""The file of a version that says what its mean deviance is."""


class TrainingFailed(ValueError):
    """As of a training that came to nothing."""


class Killed(BaseException):
    """As if the process had been killed."""


def write_version(folder: Path, quality: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(f"{quality}".encode())
    (folder / QUALITY).write_text(str(quality))


def write_scan(path: Path, seed: int = 0, frames_px: int = FRAME_PX, span: float = 600.0) -> None:
    """A tike file of 80 frames over `span` rows and columns."""
    rows = np.linspace(0, span, 8).repeat(10)
    columns = np.tile(np.linspace(0, span, 10), 8)
    data = np.random.default_rng(seed).poisson(2.0, (80, frames_px, frames_px)).astype(np.uint16)
    scan = np.stack([rows, columns], axis=-1)
    np.savez(path, data=data, scan=scan, probe=np.ones((1, 1, 1, frames_px, frames_px), np.complex64))


class Bench:
    """A folder for scans, one for models, and a watch that makes versions of the quality that is asked for."""

    def __init__(self, tmp_path: Path) -> None:
        self.place = Place(MODEL, tmp_path / "scans", tmp_path / "models")
        self.place.scans.mkdir()
        write_version(self.place.folder / "1", 1.2)
        self.next_quality = 1.0
        self.tuned: list[tuple[str, int]] = []
        self.said: list[Decision] = []
        self.before_done: Callable[[], None] = lambda: None

    def tune(self, start: Path, scan: Scan, chosen: np.ndarray, out: Path) -> None:
        self.tuned.append((start.name, len(chosen)))
        write_version(out, self.next_quality)
        self.before_done()

    def judge(self, version: Path, scan: Scan, chosen: np.ndarray) -> np.ndarray:
        quality = float((version / QUALITY).read_text())
        return quality + 0.01 * np.random.default_rng(len(version.name)).standard_normal(len(chosen))

    def open(self) -> Watching:
        return Watching(self.place, self.tune, self.judge, 0.0, self.said.append)

    def scan(self, name: str = "one.npz", **changes: Any) -> None:
        write_scan(self.place.scans / name, **changes)

    def told(self) -> list[tuple[str, int | None, int | None]]:
        return [(one.what, one.base, one.version) for one in self.said]

    @property
    def serves(self) -> int:
        return serving(MODEL, self.place.own).number

    def left(self) -> set[str]:
        return {path.name for path in self.place.folder.iterdir()} - {LOG_FILE}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_is_better_serves_next(bench: Bench):
    bench.scan()
    watch = bench.open()
    assert watch.turn() and not watch.turn()
    assert bench.told() == [("deployed", 1, 2)] and bench.serves == 2
    assert bench.left() == {"1", "2"}
    assert bench.said[0].gain is not None and bench.said[0].gain.standing == "better"
    assert bench.tuned[0][0] == "1" and 0 < bench.tuned[0][1] < 80, "held-out frames are not trained on"


@pytest.mark.parametrize(("quality", "why"), [(1.2, "not surely better"), (1.5, "worse than what serves")])
def test_what_is_not_better_changes_nothing(bench: Bench, quality: float, why: str):
    bench.scan()
    bench.next_quality = quality
    assert bench.open().turn()
    assert bench.told() == [("kept", 1, None)] and why in bench.said[0].why
    assert bench.serves == 1 and bench.left() == {"1"}


def test_the_next_scan_confirms_a_version_or_rolls_it_back(bench: Bench):
    bench.scan("one.npz")
    bench.open().turn()
    bench.scan("two.npz", seed=1)
    bench.next_quality = 0.9
    watch = bench.open()
    assert watch.turn()
    assert bench.told()[1:] == [("confirmed", 1, 2), ("deployed", 2, 3)]
    (bench.place.folder / "3" / QUALITY).write_text("1.4")  # it was good on its own scan only
    bench.scan("three.npz", seed=2)
    assert watch.turn()
    assert bench.told()[3:] == [("rolled_back", 2, 3), ("deployed", 2, 4)]
    assert bench.left() == {"1", "2", "3.withdrawn", "4"} and bench.tuned[-1][0] == "2"


def test_a_version_that_was_set_aside_by_hand_is_no_predecessor(bench: Bench):
    bench.scan("one.npz")
    bench.open().turn()
    withdraw(serving(MODEL, bench.place.own))
    bench.scan("two.npz", seed=1)
    bench.open().turn()
    assert bench.told()[1:] == [("deployed", 1, 3)], "the number of a version is not given again"


def test_a_version_that_was_set_aside_while_it_was_improved_is_not_built_upon(bench: Bench):
    bench.scan("one.npz")
    bench.open().turn()
    bench.scan("two.npz", seed=1)
    bench.next_quality = 0.9
    bench.before_done = lambda: withdraw(serving(MODEL, bench.place.own)) and None
    bench.open().turn()
    assert bench.told()[2:] == [("kept", 2, None)] and "another version serves" in bench.said[-1].why
    assert bench.serves == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"frames_px": 64}, "takes frames of 128 x 128"), ({"span": 100.0}, "two blocks")],
)
def test_a_scan_that_is_unfit_is_refused_once(bench: Bench, changes: dict[str, Any], why: str):
    bench.scan(**changes)
    watch = bench.open()
    assert watch.turn() and not watch.turn()
    assert bench.told() == [("refused", None, None)] and why in bench.said[0].why
    assert not bench.open().turn(), "the log remembers"


def test_a_file_that_is_no_scan_is_refused(bench: Bench):
    (bench.place.scans / "notes.npz").write_text("nothing")
    assert bench.open().turn()
    assert bench.told() == [("refused", None, None)]


def test_killed_while_it_trained_goes_on_there(bench: Bench):
    bench.scan()

    def kill() -> None:
        raise Killed

    bench.before_done = kill
    with pytest.raises(Killed):
        bench.open().turn()
    (work,) = bench.place.folder.glob(f"{WORK}*")
    assert bench.serves == 1 and not (work / DONE_FILE).exists()
    bench.before_done = lambda: None
    assert bench.open().turn()
    assert bench.told() == [("deployed", 1, 2)] and len(bench.tuned) == 2 and bench.left() == {"1", "2"}


@pytest.mark.parametrize("renamed", [False, True])
def test_killed_around_the_rename_is_told_and_done_once(bench: Bench, renamed: bool, monkeypatch: pytest.MonkeyPatch):
    bench.scan()

    def rename(path: Path, target: Path) -> Path:
        if renamed:
            os.rename(path, target)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            bench.open().turn()
    assert bench.serves == (2 if renamed else 1)
    watch = bench.open()
    assert watch.turn() is not renamed, "where it is in place there is nothing left to do"
    assert bench.told() == [("deployed", 1, 2)] and bench.serves == 2
    assert len(bench.tuned) == 1, "what was trained is not trained again"
    assert bench.left() == {"1", "2"}
    assert not bench.open().turn() and len(bench.said) == 1


@pytest.mark.parametrize("span", [300.0, 400.0])
def test_a_scan_too_small_to_judge_by_changes_nothing_and_costs_no_training(bench: Bench, span: float):
    bench.scan(span=span)
    watch = bench.open()
    assert watch.turn() and not watch.turn()
    assert bench.told() == [("kept", 1, None)] and "of 6 needed" in bench.said[0].why
    assert not bench.tuned and bench.serves == 1


def test_checks_of_one_version_grow_stricter(bench: Bench):
    for number in range(3):
        bench.scan(f"{number}.npz", seed=number)
        bench.next_quality = 1.0 if not number else 9.0
        bench.open().turn()
    assert [one[0] for one in bench.told()] == ["deployed", "confirmed", "kept", "confirmed", "kept"]
    first, second = (one.gain for one in bench.said if one.what == "confirmed")
    assert first is not None and second is not None and first.low is not None and second.low is not None
    assert second.mean - second.low > 1.1 * (first.mean - first.low)


def test_a_fine_tuning_that_fails_costs_one_scan(bench: Bench):
    bench.scan("one.npz")

    def fail() -> None:
        raise TrainingFailed("the loss is nan")

    bench.before_done = fail
    assert bench.open().turn()
    assert bench.told() == [("refused", None, None)] and bench.left() == {"1"}
    bench.before_done = lambda: None
    bench.scan("two.npz", seed=1)
    assert bench.open().turn() and bench.serves == 2


def test_a_damaged_version_that_serves_ends_the_watch_and_costs_no_scan(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.scan()

    def judge(version: Path, scan: Scan, chosen: np.ndarray) -> np.ndarray:
        raise VersionError(f"{version / 'probe.npy'} is empty")

    with monkeypatch.context() as patched:
        patched.setattr(bench, "judge", judge)
        with pytest.raises(WatchError, match=r"version 1 of ptycho .*probe\.npy is empty.*rollback"):
            bench.open().turn()
    assert bench.open().turn() and bench.told() == [("deployed", 1, 2)]


def test_a_made_version_that_is_damaged_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    bench.scan()
    healthy = bench.judge

    def judge(version: Path, scan: Scan, chosen: np.ndarray) -> np.ndarray:
        if version.name.startswith(WORK):
            raise VersionError("no graph")
        return healthy(version, scan, chosen)

    monkeypatch.setattr(bench, "judge", judge)
    assert bench.open().turn()
    assert bench.told() == [("refused", None, None)] and bench.left() == {"1"}


def test_half_a_version_that_lies_there_keeps_its_number(bench: Bench):
    (bench.place.folder / "2").mkdir()
    bench.scan()
    assert bench.open().turn() and bench.told() == [("deployed", 1, 3)]


def test_a_name_that_is_no_text_is_passed_over_and_said_once(bench: Bench, caplog: pytest.LogCaptureFixture):
    bench.scan("one.npz")
    os.rename(bench.place.scans / "one.npz", os.fsencode(bench.place.scans) + b"/caf\xe9.npz")
    watch = bench.open()
    assert not watch.turn() and not watch.turn() and not bench.said
    assert sum("is no text" in record.message for record in caplog.records) == 1


def test_rolled_back_by_hand_before_a_cut_deployment_was_told(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    """Killed after the rename; then the operator sets it aside: it is not deployed anew."""
    bench.scan()

    def rename(path: Path, target: Path) -> Path:
        os.rename(path, target)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            bench.open().turn()
    withdraw(serving(MODEL, bench.place.own))
    assert not bench.open().turn()
    assert bench.told() == [("deployed", 1, 2)] and bench.serves == 1 and bench.left() == {"1", "2.withdrawn"}


@pytest.mark.parametrize("renamed", [False, True])
def test_killed_around_a_roll_back(bench: Bench, renamed: bool, monkeypatch: pytest.MonkeyPatch):
    bench.scan("one.npz")
    bench.open().turn()
    (bench.place.folder / "2" / QUALITY).write_text("1.9")
    bench.scan("two.npz", seed=1)
    bench.next_quality = 5.0

    def rename(path: Path, target: Path) -> Path:
        if renamed:
            os.rename(path, target)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            bench.open().turn()
    assert bench.serves == (1 if renamed else 2)
    bench.open().turn()
    assert bench.told()[1:] == [("rolled_back", 1, 2), ("kept", 1, None)] and bench.serves == 1
    assert bench.open().turn() is False


def test_there_is_one_watch(bench: Bench):
    def open_it() -> None:
        with watching(bench.place, bench.tune, bench.judge, 0.0, bench.said.append):
            pass

    with (
        watching(bench.place, bench.tune, bench.judge, 0.0, bench.said.append),
        pytest.raises(WatchError, match="another process"),
    ):
        open_it()
    open_it()


def test_a_folder_that_is_not_there_is_told(bench: Bench):
    with (
        pytest.raises(WatchError, match="there is no folder"),
        watching(
            Place(MODEL, bench.place.scans / "x", bench.place.own), bench.tune, bench.judge, 0.0, bench.said.append
        ),
    ):
        pass
