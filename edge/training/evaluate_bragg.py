"""How good the served centres and intensities are: `edge evaluate bragg [--data FOLDER]`.

Runs `model.onnx` itself, with ONNX Runtime, on simulated patches whose truth is known and, where a folder with them is
named, on measured ones; what users do instead runs on the same patches. Needs no torch.
"""

from pathlib import Path

import click

from edge.inference.repository import GRAPH_FILE
from edge.physics.patches import PatchKind
from edge.training.bragg_picture import draw_errors
from edge.training.evaluate_bragg_answers import PERCENTILES, distances, graph_run, places
from edge.training.evaluate_bragg_ruby import FILE, RubyPatches, measured, ruby_patches
from edge.training.evaluate_bragg_simulated import FITTED_TOO, all_pulls, beside_fits, counted_patches, simulated
from edge.training.given import graph_in, needed, readable
from edge.training.judged import Judged, conclude

SIMULATED = 20_000


@click.command("bragg")
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Measured patches.")
@click.option("--model", type=click.Path(exists=True, file_okay=False, path_type=Path), help="[default: as shipped]")
@click.option("--patches", default=SIMULATED, show_default=True, type=click.IntRange(100), help="Simulated ones.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Errors and pulls as a picture.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the rows here.")
@click.option("--card", is_flag=True, help="Also write the figures into the model's card.")
def evaluate_bragg(
    data: Path | None, model: Path | None, patches: int, plot: Path | None, json_file: Path | None, card: bool
) -> None:
    """Judge centres and intensities on simulated patches, and on measured ones where a folder is named."""
    folder, ruby = graph_in("bragg", model), _ruby(data)
    run = graph_run(folder / GRAPH_FILE)
    rows = [*simulated(run, patches), *beside_fits(run, min(FITTED_TOO, patches))]
    if ruby is None:
        why = "no measured patches: name their folder with --data"
        rows = [*(Judged(f"bragg_p{share}_px", None, "px", what=why) for share in PERCENTILES), *rows]
    else:
        rows = [*measured(run, ruby), *rows]
    if plot is not None:
        drawn = counted_patches(patches, PatchKind())
        answers = run(drawn.images)
        draw_errors(plot, distances(places(answers), drawn.centre), drawn.signal_to_noise, all_pulls(answers, drawn))
    conclude(rows, json_file, folder if card else None)


def _ruby(data: Path | None) -> RubyPatches | None:
    """Read before anything is judged. Raises ClickException."""
    needed(data, (FILE,))
    if data is None:
        return None
    with readable(data):
        return ruby_patches(data)
