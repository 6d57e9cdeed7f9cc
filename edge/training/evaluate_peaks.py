"""How good the served spot finder is: `edge evaluate peaks [--data FOLDER] [--rival-python PATH]`.

Runs `model.onnx` itself, with ONNX Runtime, on simulated frames whose truth is known, on rings that hold no spot, and,
where a folder with them is named, on measured frames; rivals search the same frames in the same run. Needs no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from edge.bench.rows import Row, write
from edge.inference.repository import GRAPH_FILE
from edge.physics.calibration import Reliability
from edge.training import evaluate_peaks_places as places
from edge.training import evaluate_peaks_ruby as ruby
from edge.training import evaluate_peaks_serial as serial
from edge.training import evaluate_peaks_silent as silent
from edge.training import evaluate_peaks_speed as speed
from edge.training import evaluate_peaks_sweep as sweep
from edge.training.evaluate_peaks_finders import PER_MEGAPIXEL, RATIOS
from edge.training.evaluate_peaks_picture import draw
from edge.training.evaluate_peaks_scene import EXPOSURE_S, FRAMES_A_POINT, scene
from edge.training.figures import TIME, Figures, Run, graph_run, kept, show
from edge.training.given import graph_in, needed, readable
from edge.training.judged import Judged, conclude
from edge.training.measured_frames import CERIA_FILE, RUBY_FILES, ceria_frame, ruby_frames
from edge.training.rivals.calling import RivalError, interpreter_with, rival_option, warn
from edge.training.rivals.peakfinder8 import MODULE, Settings

SPEED_AT, OVERLAPPING_AT = RATIOS.index(8.0), RATIOS.index(25.0)
SPEED_FRAMES = 5
OVERLAPPING = 0.3
RINGS_A_LINE, HITS_A_LINE, RUBY_A_LINE = 2, 13, 6
"""How many frames of the other parts go with one frame a line of the sweep."""

_SCENE = {
    "bias counts": "counts",
    "bias % of the brightest": "%",
    "spread counts": "counts",
    "stated sigma": "counts",
}
_PLACES: dict[str, str] = dict.fromkeys(
    ("model", "brightest pixel", "centre of mass", "log-parabola", "pseudo-Voigt fit"), "px"
)


@dataclass(frozen=True)
class Report:
    """What has come out so far."""

    rows: list[Row] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    def tell(self, figures: Figures, judged: Sequence[Judged] = ()) -> None:
        """Shows a table and keeps its rows."""
        show(figures)
        self.rows.extend(kept(figures))
        self.judged.extend(judged)


@click.command("peaks")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Measured frames.")
@click.option("--frames", default=16, show_default=True, type=click.IntRange(min=2), help="A line of the sweep.")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Also draw the comparison here.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
@click.option("--card", is_flag=True, help="Keep the figures in the model's card.")
@rival_option
def evaluate_peaks(
    data: Path | None,
    frames: int,
    model: Path | None,
    plot: Path | None,
    json_file: Path | None,
    card: bool,
    rival_python: tuple[Path, ...],
) -> None:
    """Judge the spot finder on simulated frames, and on measured ones where a folder is named."""
    folder = graph_in("peaks", model)
    can_be_read(data)
    run, python, report = graph_run(folder / GRAPH_FILE), interpreter_with(rival_python, MODULE, warn), Report()
    try:
        rival = None if python is None else (python, sweep.tune(python))
        lines, found = swept(run, frames, rival, report)
        one = None if rival is None else (rival[0], rival[1].one)
        rings = quiet(run, frames, data, one, report)
        hits(run, frames, one, report)
    except RivalError as error:
        raise click.ClickException(str(error)) from error
    title = f"Bragg scene, {FRAMES_A_POINT} frames of {1e3 * EXPOSURE_S:g} ms a point"
    report.tell(Figures("scene", title, scene(run), _SCENE))
    measured(run, frames, data, report)
    if plot is not None:
        draw(plot, lines, found, rings)
    if json_file is not None:
        write(json_file, [*(one.row() for one in report.judged), *report.rows])
    conclude(report.judged, None, folder if card else None)


def can_be_read(data: Path | None) -> None:
    """Looks at the measured files first. Raises ClickException."""
    needed(data, (*RUBY_FILES, CERIA_FILE))
    if data is not None:
        with readable(data):
            ceria_frame(data)
            next(ruby_frames(data, 1))


def swept(
    run: Run, frames: int, rival: tuple[Path, sweep.Tuned] | None, report: Report
) -> tuple[list[sweep.Line], Reliability]:
    """The sweep over signal to noise, and what else is told of its frames. Raises RivalError."""
    lines = [sweep.line(run, at, frames, rival) for at in range(len(RATIOS))]
    title = f"{frames} simulated frames of 1024 x 1024 a line, {PER_MEGAPIXEL:g} spots each, matched within 2 px"
    report.tell(Figures("found", title, [sweep.f1_line(line) for line in lines]), sweep.f1_rows(lines))
    close = sweep.line(run, OVERLAPPING_AT, frames, rival, OVERLAPPING)
    title = f"The same where {100 * OVERLAPPING:g} % of the spots have a second one 2.5 to 6 px beside"
    report.tell(Figures("overlapping", title, [sweep.f1_line(close)]))
    title = "Distance to the truth in px at 50/75/95 % of the same spots, those that the model found"
    report.tell(Figures("places", title, places.place_lines(lines), _PLACES))
    found = places.reliability_of(lines)
    report.tell(
        Figures("reliability", "Stated probability and share that are spots", places.reliability_lines(found)),
        [places.calibration_row(lines)],
    )
    title = "The same by signal to noise: the mean of what is stated, the share that are spots"
    report.tell(Figures("stated", title, places.by_ratio_lines(lines)))
    took = speed.rounds(run, lines[SPEED_AT].frames[:SPEED_FRAMES], None if rival is None else (rival[0], rival[1].one))
    report.tell(Figures("time", f"{TIME}, 1024 x 1024", speed.speed_lines(took), {"ms": "ms"}), speed.speed_rows(took))
    return lines, found


def quiet(
    run: Run, frames: int, data: Path | None, rival: tuple[Path, Settings] | None, report: Report
) -> list[silent.Silent]:
    """Frames without a spot. Raises RivalError."""
    kinds = silent.ring_frames(run, RINGS_A_LINE * frames, rival)
    if data is not None:
        kinds.append(silent.ceria(run, data, rival))
    title = "Rings without a Bragg spot: false peaks a frame"
    report.tell(Figures("rings", title, silent.silent_lines(kinds)), [silent.silent_row(kinds)])
    return kinds


def hits(run: Run, frames: int, rival: tuple[Path, Settings] | None, report: Report) -> None:
    """Serial crystallography. Raises RivalError."""
    told = serial.told(run, HITS_A_LINE * frames, rival)
    title = "Simulated serial crystallography: hit or blank"
    report.tell(Figures("serial", title, serial.serial_lines(told)), serial.serial_rows(told))


def measured(run: Run, frames: int, data: Path | None, report: Report) -> None:
    """Ruby, where there is a folder with it."""
    if data is None:
        report.judged.extend(ruby.not_run())
        return
    seen = ruby.ruby(run, data, RUBY_A_LINE * frames)
    title = "Ruby, 3888 x 3072, Poisson background under the cut; HEXRD's list"
    report.tell(Figures("ruby", title, ruby.ruby_lines(seen), {"px 50/75/95 %": "px"}), ruby.ruby_rows(seen))
