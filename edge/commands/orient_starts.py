"""`edge orient --every-start`: does the command undo whatever was done to the data before?"""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from edge.bench.rows import Row
from edge.commands.orient_telling import scan_words
from edge.conditioning.orientation import ORIENTATIONS
from edge.physics.orientation import Turn, after, family, turn_of
from edge.physics.orientation_ranking import Ranking

STARTS = tuple(
    turn_of(image, signs, swap=False) for image in ORIENTATIONS for signs in ((1, 1), (-1, 1), (1, -1), (-1, -1))
)
"""8 turns of the image x 4 signs of the scan axes."""


@dataclass(frozen=True)
class Outcome:
    """What became of one start."""

    start: Turn
    recommended: Turn
    clear: bool
    exact: bool  # start and recommendation together do nothing but what is recommended for the data as they are
    same_relative: bool  # or that, seen in a mirror
    same_family: bool  # or that, or its twin
    twin_told: bool
    margin: float

    @property
    def undone(self) -> bool:
        """Undone, as far as the probe tells: a twin counts only where twins are not told apart."""
        return self.same_relative or (self.same_family and not self.twin_told)


def outcome_of(start: Turn, reference: Ranking, found: Ranking) -> Outcome:
    """Compares what is recommended after `start` with what is recommended for the data as they are."""
    wanted, both = reference.recommended, after(start, found.recommended)
    return Outcome(
        start=start,
        recommended=found.recommended,
        clear=found.clear,
        exact=both == wanted,
        same_relative=both.relative == wanted.relative,
        same_family=both.relative in family(wanted.relative),
        twin_told=found.twin_told,
        margin=found.families.ratio,
    )


def outcome_table(found: Sequence[Outcome]) -> Table:
    """A line for each start."""
    made = Table("turned: image", "scan", "recommended: image", "scan", "undone", "margin", box=None, padding=(0, 2))
    for one in found:
        made.add_row(
            one.start.image,
            scan_words(one.start),
            one.recommended.image,
            scan_words(one.recommended),
            _verdict(one),
            f"{one.margin:.2f}" + ("" if one.clear else " not clear"),
        )
    return made


def _verdict(one: Outcome) -> str:
    if one.exact:
        return "exactly"
    if one.same_relative:
        return "but for a mirror image"
    if one.undone:
        return "but for a twin"
    return "[bold]no[/]"


def outcome_rows(found: Sequence[Outcome]) -> list[Row]:
    """How many starts were found right."""
    detail = "the turn that undoes the start, or one that gives the same frames and the probe does not tell from it"
    return [
        Row("orient_starts_undone", sum(one.undone and one.clear for one in found), "1", detail=detail),
        Row("orient_starts_exact", sum(one.exact for one in found), "1", detail="of these the very turn"),
        Row("orient_starts_not_clear", sum(not one.clear for one in found), "1", detail="margins below their bars"),
        Row("orient_margin_least", min(one.margin for one in found), "1", detail="next family over the best"),
    ]
