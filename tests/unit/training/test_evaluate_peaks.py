"""The comparison's own arithmetic, with finders that are known to be good or bad."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge.physics.peak_judging import Found, Tally
from edge.physics.spots import FLAG, Kind, SpotFrame, random_spots, without
from edge.training import evaluate_peaks
from edge.training import evaluate_peaks_finders as finders
from edge.training import evaluate_peaks_places as places
from edge.training import evaluate_peaks_ruby as ruby
from edge.training import evaluate_peaks_serial as serial
from edge.training import evaluate_peaks_silent as silent
from edge.training import evaluate_peaks_speed as speed
from edge.training import evaluate_peaks_sweep as sweep
from edge.training.evaluate_peaks_picture import draw
from edge.training.figures import Percentiles
from edge.training.measured_frames import CERIA_FILE, RUBY_CUT, RubyFrame, ruby_frames
from tests.data import FOLDER, measured_data

KIND = without(Kind(background=(4.0, 4.0), signal_to_noise=(30.0, 30.0), per_megapixel=(900.0, 900.0), rings=0.0))


def frames(count: int = 3) -> list[SpotFrame]:
    rng = np.random.default_rng(0)
    return [random_spots((160, 170), KIND, rng) for _ in range(count)]


def drawn(frame: SpotFrame, share: float = 1.0) -> Found:
    """A finder that knows the truth and tells a share of it."""
    where = np.stack([frame.spots.row, frame.spots.col], axis=1)[: round(share * len(frame.spots.row))]
    return Found(where, np.full(len(where), 0.95))


def line(ratio: float, ours: float, theirs: float) -> sweep.Line:
    seen = frames()
    found = {sweep.MODEL: ours, sweep.FILTER: 0.5} | dict.fromkeys(
        (sweep.PF8_EACH, sweep.PF8_ONE, sweep.PF8_BEST), theirs
    )
    return sweep.Line(ratio, seen, {name: [drawn(one, share) for one in seen] for name, share in found.items()})


def median(value: object) -> float:
    assert isinstance(value, Percentiles)
    return value.p50


def listed(outputs: int, count: int) -> dict[str, np.ndarray]:
    whole = np.arange(outputs, dtype=np.float32)
    return {"count": np.array([count]), "row": whole, "column": 2 * whole, "probability": 1 - whole / 100}


def test_the_model_s_list_ends_at_its_count() -> None:
    found = finders.model_found(listed(128, 3))
    assert found.places.tolist() == [[0, 0], [1, 2], [2, 4]]
    assert found.scores == pytest.approx([1, 0.99, 0.98])
    assert finders.model_found(listed(128, 0)).places.shape == (0, 2)


def test_hidden_spots_count_neither_way() -> None:
    frame = frames()[0]
    seen, hidden = finders.truth(frame)
    at = np.rint(seen[0]).astype(int)
    frame.image[max(at[0] - 2, 0) : at[0] + 3, max(at[1] - 2, 0) : at[1] + 3] = FLAG
    fewer, more = finders.truth(frame)
    assert (len(fewer), len(more)) == (len(seen) - 1, len(hidden) + 1)
    assert finders.judged(drawn(frame), frame) == Tally(hits=len(fewer))


def test_the_matched_filter_finds_strong_spots() -> None:
    total = sum((finders.judged(finders.matched_filter(frame.image), frame) for frame in frames()), Tally())
    assert total.recall > 0.95 and total.precision > 0.8


def test_the_rows_are_the_least_and_the_mean_difference() -> None:
    worst, mean, *beside = sweep.f1_rows([line(5.0, 1.0, 1.0), line(10.0, 0.5, 1.0), line(20.0, 1.0, 0.5)])
    assert worst.value == pytest.approx(2 / 3 - 1, abs=0.02)
    assert mean.value == pytest.approx(0, abs=0.01)
    assert worst.kept is False
    assert worst.value is not None and worst.interval is not None
    assert worst.interval[0] <= worst.value <= worst.interval[1]
    names = [f"peaks_f1_{of}_{by}" for by in ("one_setting", "best_of_test") for of in ("worst", "mean")]
    assert [one.name for one in beside] == names
    assert beside[0].value == worst.value and beside[0].kept is None
    best, *_ = sweep.f1_rows([line(5.0, 1.0, 0.9), line(10.0, 1.0, 0.5)])
    assert best.kept


def test_without_the_rival_the_rows_say_what_to_do() -> None:
    alone = replace(line(5.0, 1.0, 1.0), found={sweep.MODEL: [drawn(frame) for frame in frames()]})
    assert [(row.value, "ondamonitor" in row.what) for row in sweep.f1_rows([alone])] == [(None, True)] * 2
    assert speed.speed_rows([{"model": 0.1}])[0].value is None


def test_the_places_of_all_methods_are_of_the_same_spots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "FITTED", 20)
    (row,) = places.place_lines([line(30.0, 1.0, 1.0)])
    assert row["model"] == (0, 0, 0)
    fit, mass, brightest = (median(row[name]) for name in ("pseudo-Voigt fit", "centre of mass", "brightest pixel"))
    assert fit < mass < brightest < 1
    assert median(row["log-parabola"]) < brightest


def test_the_calibration_is_of_what_is_listed() -> None:
    seen = frames(2)
    wrong = Found(np.vstack([drawn(seen[1]).places, [[1e3, 1e3]]]), np.append(drawn(seen[1]).scores, 0.6))
    stated, right = places.calibration(seen, [drawn(seen[0]), wrong])
    assert right.sum() == len(right) - 1 and stated[~right] == 0.6
    found = places.reliability_of([line(30.0, 1.0, 1.0)])
    assert found.error == pytest.approx(0.05)
    row = places.calibration_row([line(30.0, 1.0, 1.0)])
    assert row.kept and row.interval == (pytest.approx(0.05), pytest.approx(0.05))
    assert [entry["probability"] for entry in places.reliability_lines(found)] == ["0.9"]


def test_one_loud_kind_of_rings_breaks_the_promise() -> None:
    image, nothing = np.ones((60, 60), np.uint16), Found(np.empty((0, 2)), np.empty(0))
    one = Found(np.array([[10.0, 10.0]]), np.array([0.9]))
    quiet = silent.Silent("ice", [image] * 20, [(30.0, 30.0)] * 20, {"model": [nothing] * 20})
    loud = replace(quiet, name="salt", found={"model": [nothing] * 17 + [one] * 3})
    row = silent.silent_row([quiet, loud])
    assert (row.value, row.kept) == (0.15, False)
    assert silent.silent_row([quiet]).kept
    assert [entry["model"] for entry in silent.silent_lines([quiet, loud])] == [0, 0.15]


def test_hits_are_told_by_count_and_then_by_probability() -> None:
    few, sure = Found(np.zeros((1, 2)), np.array([0.9])), Found(np.zeros((1, 2)), np.array([0.99]))
    many = Found(np.zeros((2, 2)), np.array([0.5, 0.5]))
    assert serial.count_and_score(many) > serial.count_and_score(sure) > serial.count_and_score(few) > 0
    assert serial.count_and_score(Found(np.empty((0, 2)), np.empty(0))) == 0
    hits = np.arange(400) % 2 == 0
    area, kept = serial.serial_rows(serial.Told({"count and score": np.where(hits, 5.0, 1.0)}, hits))
    assert (area.value, area.kept, kept.value) == (1, True, pytest.approx(0.1))
    area, kept = serial.serial_rows(serial.Told({"count and score": np.where(hits, 5.0, 1.0)[:40]}, hits[:40]))
    assert (area.value, kept.value) == (1, None) and "--frames" in kept.what


def test_errors_of_opposite_sign_are_seen_ratio_by_ratio() -> None:
    """At one ratio all that is listed at 0.95 is true, at the other half of it: together it might look right."""
    half = line(5.0, 1.0, 1.0)
    more = [Found(np.vstack([one.places, one.places + 1e3]), np.tile(one.scores, 2)) for one in half.found[sweep.MODEL]]
    both = [line(30.0, 1.0, 1.0), replace(half, found={sweep.MODEL: more})]
    row = places.calibration_row(both)
    assert row.more["by signal to noise"] == pytest.approx({"30": 0.05, "5": 0.45}, abs=0.02)
    assert row.interval is not None and row.value is not None
    assert row.interval[0] < row.value < row.interval[1]


def test_settings_are_tried_on_few_frames_and_the_best_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival that finds more of the spots the higher its limit: that setting wins at each ratio and overall."""
    monkeypatch.setattr(sweep, "RATIOS", (10.0, 30.0))
    monkeypatch.setattr(sweep, "frames", lambda kind, count, seed: frames(count))
    asked: list[tuple[int, int]] = []

    def find(python, given, settings, **_):
        asked.append((len(given), len(settings)))
        seen = frames(len(given))
        return [[drawn(one, setting.minimum_snr / 10) for one in seen] for setting in settings], np.zeros(1)

    monkeypatch.setattr(sweep, "find", find)
    tuned = sweep.tune(Path("python"))
    assert {one.minimum_snr for one in (*tuned.each, tuned.one)} == {8.0}
    assert asked[:2] == [(sweep.FIRST_FRAMES, len(sweep.grid()))] * 2
    assert all(count == sweep.TUNING_FRAMES >= 16 and sweep.SHORT <= tried <= 36 for count, tried in asked[2:])
    seen = sweep.line(lambda image: listed(4, 0), 1, 2, (Path("python"), tuned))
    scores = {name: sum(seen.tallies(name), Tally()).f1 for name in (sweep.PF8_EACH, sweep.PF8_BEST)}
    assert scores[sweep.PF8_BEST] >= scores[sweep.PF8_EACH] > 0.8
    assert all(not frame.expected.size for frame in seen.frames)


@pytest.mark.parametrize("files", [(), ("ruby_hedm/ruby_ff1.npz", "ruby_hedm/ruby_ff1_spots.h5", CERIA_FILE)])
def test_folders_that_hold_something_else_are_named_at_once(files: tuple[str, ...], tmp_path: Path) -> None:
    """An empty folder, and one whose files are broken."""
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing of the kind")
    answer = CliRunner().invoke(evaluate_peaks.evaluate_peaks, ["--data", str(tmp_path)])
    assert answer.exit_code == 1 and isinstance(answer.exception, SystemExit)
    assert ("cannot be read" if files else "leave out --data") in answer.output
    answer = CliRunner().invoke(evaluate_peaks.evaluate_peaks, ["--model", str(tmp_path)])
    assert answer.exit_code == 1 and "model.onnx" in answer.output and isinstance(answer.exception, SystemExit)


def test_few_of_the_frames_are_those_that_were_in_view() -> None:
    count, before = 96, np.linspace(0, 1439, 31).astype(int)
    assert not set(((np.arange(count) + 0.5) * 1440 / count).astype(int)) & set(before)


def test_the_speed_is_the_ratio_within_each_round() -> None:
    seen = [{"model": 0.02, "peakfinder8": 0.03, "peakfinder8, fast mode": 0.01} for _ in range(3)]
    plain, fast = speed.speed_rows(seen)
    assert (plain.value, plain.kept) == (pytest.approx(1.5), True)
    assert (fast.value, fast.kept) == (pytest.approx(0.5), None)


def test_background_stands_only_where_the_file_holds_nothing() -> None:
    image = np.zeros((50, 60), np.uint16)
    image[20, 20:23] = 500
    frame = RubyFrame(image, np.array([[20.0, 21.0]]), np.array([3]), np.array([3]))
    seen = ruby.with_background(frame, 100.0, np.random.default_rng(0))
    assert (seen[20, 20:23] == 500).all() and image.sum() == 1500
    rest = np.delete(seen.ravel(), [20 * 60 + col for col in (20, 21, 22)])
    assert rest.max() <= RUBY_CUT
    assert rest.mean() == pytest.approx(100, abs=1)


def test_entries_below_three_pixels_count_neither_way() -> None:
    each = {ruby.BY_PIXELS: Tally(9, 1, 0), ruby.BY_LENGTH: Tally(8, 1, 0)}
    recall, precision, *_ = ruby.ruby_rows([ruby.Seen(10.0, each, np.zeros(9))] * 3)
    assert (recall.value, precision.value) == (1, 0.9)
    assert recall.kept and precision.kept


def test_the_list_s_columns_are_what_they_are_said_to_be() -> None:
    measured_data("ruby_hedm/ruby_ff1.npz")
    for frame in ruby_frames(FOLDER, 12):
        assert (frame.pixels >= frame.length).all()
        at = np.rint(frame.places).astype(int)
        near = [frame.image[row - 1 : row + 2, col - 1 : col + 2].max() for row, col in at]
        assert (np.array(near) > RUBY_CUT).all()
        assert (frame.pixels >= 2).all()


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    lines = [line(5.0, 0.6, 0.5), line(10.0, 1.0, 0.9)]
    image = np.random.default_rng(0).poisson(5, (60, 60)).astype(np.uint16)
    one = Found(np.array([[10.0, 10.0]]), np.array([0.9]))
    kinds = [silent.Silent(name, [image], [(30.0, 30.0)], {"model": [one]}) for name in ("ice", "salt", "powder")]
    draw(tmp_path / "peaks.png", lines, places.reliability_of(lines), kinds)
    assert (tmp_path / "peaks.png").stat().st_size > 10_000


def test_the_whole_command_on_small_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped model, no rival and no measured data: every table, row and picture is there."""
    for module in (finders, silent, serial):
        monkeypatch.setattr(module, "SHAPE", (128, 128))
    monkeypatch.setattr(evaluate_peaks, "HITS_A_LINE", 2)
    monkeypatch.setattr(places, "FITTED", 3)
    monkeypatch.setattr(evaluate_peaks, "scene", lambda run: [{"true counts": "1..2", "points": 3, "bias counts": 0.5}])
    rows, picture = tmp_path / "rows.json", tmp_path / "peaks.png"
    asked = ["--frames", "2", "--json", str(rows), "--plot", str(picture)]
    answer = CliRunner(env={"EDGE_RIVAL_PYTHON": ""}).invoke(evaluate_peaks.evaluate_peaks, asked)
    assert isinstance(answer.exception, SystemExit | None), answer.exception
    kept = {row["name"]: row["value"] for row in json.loads(rows.read_text())["rows"]}
    names = ("f1_worst", "f1_mean", "speed_ratio", "ruby_recall", "ruby_precision", "ring_false", "hit_auc", "ece")
    assert {f"peaks_{name}" for name in names} <= set(kept)
    not_run = {name for name in names if kept[f"peaks_{name}"] is None}
    assert not_run == {"f1_worst", "f1_mean", "speed_ratio", "ruby_recall", "ruby_precision"}
    assert picture.exists()
