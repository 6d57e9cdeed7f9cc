"""How `edge orient` tells what it found: tables, lines for the configuration, rows, a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from edge.bench.rows import Row
from edge.conditioning.orientation import Orientation, oriented, oriented_point
from edge.physics.orientation import Turn, family, members, twin
from edge.physics.orientation_overlap import BORDER
from edge.physics.orientation_ranking import CLEAR, TOLD, Margin, Ranking


def scan_words(turn: Turn) -> str:
    """What is done to the positions, in words."""
    if turn.scan == "as-is":
        return "as they are"
    signs = [f"-{axis}" for axis, sign in zip(("row", "col"), turn.signs, strict=True) if sign < 0]
    return ", ".join((["row <-> col"] if turn.swap else []) + signs)


def ranking_table(ranking: Ranking) -> Table:
    """The 8 relative turns, best first, each by what it comes to with the scan axes as they are."""
    made = Table("", "image", "scan", "the same, seen in a mirror", "misfit", "over best", box=None, padding=(0, 2))
    best = ranking.relatives[0]
    for place, row in enumerate(ranking.relatives, start=1):
        relative = row.turn.relative
        made.add_row(
            str(place),
            relative,
            "as they are",
            _in_mirror(relative),
            f"{row.residual:.4f}",
            f"{row.residual / best.residual:.2f}",
        )
    mean = ranking.mean_residual
    made.add_row("", "[dim]mean of other frames[/]", "", "", f"{mean:.4f}", f"{mean / best.residual:.2f}")
    return made


def _in_mirror(relative: Orientation) -> str:
    """The member that leaves the image as it is."""
    return "image as-is, scan " + next(scan_words(turn) for turn in members((relative,)) if turn.image == "as-is")


def words(ranking: Ranking) -> list[str]:
    """What the numbers say."""
    lines = [
        f"{'clear' if ranking.clear else 'not clear'}: the next family of turns is {_margin(ranking.families)} worse "
        f"(bar {CLEAR}), the mean of other frames {_margin(ranking.over_mean)}"
    ]
    if not ranking.clear:
        return [*lines, *_reasons(ranking)]
    best = ranking.relatives[0].turn.relative
    if ranking.twin_told:
        lines.append(f"twin: the probe tells, the image turned by 180 degrees is {_margin(ranking.twins)} worse")
    else:
        lines.append(
            f"twin: not told. {best} and {twin(best)} give the same frames with probe and object complex conjugated, "
            "and the start of the iterations chose; a guess of the probe with the right sign of the defocus (--probe) "
            "tells them apart"
        )
    if ranking.mirror_told and ranking.mirrored is not None:
        lines.append(f"mirror image: the probe tells, the next is {_margin(ranking.mirrored)} worse (bar {TOLD})")
    else:
        known = "" if ranking.mirrored is None else f" (the next is {_margin(ranking.mirrored)} worse, bar {TOLD})"
        lines.append(
            f"mirror image: not told{known}. Image and scan axes turned together show the same sample in a mirror; a "
            "reconstructed probe (--probe) can tell. Chosen: fewest changes, the scan axes as they are"
        )
    return lines


def _reasons(ranking: Ranking) -> list[str]:
    if ranking.over_mean.low <= CLEAR:
        return [
            "No turn predicts a frame much better than the mean of other frames does. Is it a scan in the far field, "
            "is the pixel size right, do the positions belong to these frames, is there something on the sample?"
        ]
    return ["Two families predict the frames about as well. Try more --frames or --places, or a better --probe"]


def toml_lines(turn: Turn) -> list[str]:
    """What to write into the configuration. Tables of one [[source]]."""
    lines: list[str] = []
    if turn.image != "as-is":
        lines += ["[source.conditioning]", f'orientation = "{turn.image}"']
    if turn.swap:
        lines += ["[source.positions]", "# in axes, exchange what row (or y) and col (or x) name; then:"]
    elif turn.scan != "as-is":
        lines += ["[source.positions]"]
    if turn.scan != "as-is":
        row, col = turn.signs
        lines += [f"factor = {{ row = {row}, col = {col} }}  # times the factors that are there"]
    return lines or ["# nothing to change"]


def beam_after(turn: Turn, centre: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int]:
    """The (row, col) of the pixel of the beam after turning images of `shape`."""
    row, col = centre
    x, y = oriented_point((col + 0.5, row + 0.5), shape, turn.image)
    return int(y - 0.5), int(x - 0.5)


def rows(ranking: Ranking) -> list[Row]:
    """All that was found, to be kept."""
    return [
        Row("orient_clear", ranking.clear, detail=words(ranking)),
        Row(
            "orient_image", ranking.recommended.image, detail="turn of the image, as [source.conditioning] orientation"
        ),
        Row("orient_scan_row_sign", ranking.recommended.signs[0], "1"),
        Row("orient_scan_col_sign", ranking.recommended.signs[1], "1"),
        Row("orient_scan_swap", ranking.recommended.swap, detail="row and col are exchanged before the signs"),
        Row("orient_equivalent", len(ranking.equivalent), "1", detail=[_plain(turn) for turn in ranking.equivalent]),
        _margin_row("orient_margin", ranking.families, "misfit of the next family over that of the best"),
        _margin_row("orient_over_mean", ranking.over_mean, "misfit of the mean of other frames over that of the best"),
        _margin_row("orient_twin_margin", ranking.twins, "misfit of the twin over that of the best"),
        _margin_row("orient_mirror_margin", ranking.mirrored, "the next mirror image over the best, probe held"),
        Row("orient_twin_told", ranking.twin_told),
        Row("orient_mirror_told", ranking.mirror_told),
        Row("orient_blind", ranking.blind, detail="started without a guess of the probe"),
        Row(
            "orient_ranking",
            len(ranking.relatives),
            "1",
            detail=[
                {"relative": row.turn.relative, "misfit": row.residual, "family": family(row.turn.relative)}
                for row in ranking.relatives
            ],
        ),
        Row(
            "orient_mirrors",
            len(ranking.mirrors),
            "1",
            detail=[_plain(row.turn) | {"misfit": row.residual} for row in ranking.mirrors],
        ),
        Row(
            "orient_survey",
            len(ranking.survey),
            "1",
            detail=[_plain(turn) | {"misfit": v} for turn, v in ranking.survey],
        ),
    ]


def _plain(turn: Turn) -> dict[str, Any]:
    row, col = turn.signs
    return {"image": turn.image, "scan_swap": turn.swap, "scan_row_sign": row, "scan_col_sign": col}


def _margin_row(name: str, margin: Margin | None, detail: str) -> Row:
    if margin is None:
        return Row(name, None, "1", detail=detail)
    return Row(name, margin.ratio, "1", (margin.low, margin.high), f"{detail}; spread: 95 % interval over frames")


def _margin(margin: Margin) -> str:
    return f"{margin.ratio:.2f} times [{margin.low:.2f}, {margin.high:.2f}]"


def picture(path: Path, ranking: Ranking) -> None:
    """The phase that each of the 8 relative turns makes of the first neighbourhood, best first.

    Raises OSError or ValueError when the file cannot be written, or its ending is of no image.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 7.6), layout="constrained")
    axes = np.ravel(figure.subplots(2, 4))
    for axis, row in zip(axes, ranking.relatives, strict=True):
        back = Turn("as-is", row.turn.scan).relative  # as the scan axes are
        image = oriented(row.fits[0].image, back)
        edge = BORDER + row.fits[0].modes.shape[-1] // 4  # beyond, the probe is dim
        shown = np.angle(image * np.exp(-1j * np.angle(image.mean())))[edge:-edge, edge:-edge]
        axis.imshow(shown, cmap="gray", vmin=-1.5, vmax=1.5)
        axis.set_title(f"image {row.turn.relative}, scan as it is\nmisfit {row.residual:.4f}", fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.suptitle("Phase of one neighbourhood; what is right looks like the sample")
    figure.savefig(path, dpi=110)
