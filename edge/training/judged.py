"""Figures of `edge evaluate` held against what was asked for: a table, rows, and the model's card."""

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.bench.rows import Row, machine, running_command, write
from edge.inference.cards import write_card
from edge.models.card import CARD_FILE, Card, Measured, parse_card
from edge.models.card import Figure as CardFigure

Side = Literal["at most", "at least", "below", "above"]


@dataclass(frozen=True)
class Bar:
    """What is asked of a figure: of its value, or of the `low` or `high` end of its interval."""

    side: Side
    limit: float
    of: Literal["value", "low", "high"] = "value"

    def kept(self, value: float, interval: tuple[float, float] | None) -> bool:
        """Whether it is; not where there is no number to hold against it."""
        low, high = interval or (math.nan, math.nan)
        judged = {"value": value, "low": low, "high": high}[self.of]
        match self.side:
            case "at most":
                return judged <= self.limit
            case "at least":
                return judged >= self.limit
            case "below":
                return judged < self.limit
            case "above":
                return judged > self.limit

    def __str__(self) -> str:
        of = {"value": "", "low": "lower limit ", "high": "upper limit "}[self.of]
        return f"{of}{self.side} {self.limit:.4g}"


@dataclass(frozen=True)
class Judged:
    """One figure. `value` None: it was not run, and `what` says why and what to do."""

    name: str
    value: float | None
    unit: str = "1"
    interval: tuple[float, float] | None = None  # 95 %
    what: str = ""
    bars: Sequence[Bar] = ()
    more: Mapping[str, Any] = field(default_factory=dict)  # plain types, into the rows alone

    @property
    def kept(self) -> bool | None:
        """Whether all bars are; None where none was asked for, or nothing was run."""
        if self.value is None or not self.bars:
            return None
        return all(bar.kept(self.value, self.interval) for bar in self.bars)

    @property
    def bar(self) -> str:
        """The bars in words."""
        return ", ".join(str(bar) for bar in self.bars)

    def row(self) -> Row:
        """In the common form of measured numbers."""
        told: dict[str, Any] = {"what": self.what, "spread": "95 % interval"}
        if self.bars:
            told |= {"bar": self.bar, "kept": self.kept}
        return Row(self.name, self.value, self.unit, self.interval, told | dict(self.more))


WIDE = 150
"""Columns of a terminal from which what a figure means fits beside it."""


def show(figures: Sequence[Judged], console: Console) -> None:
    """For people: a table, and on a narrow screen what each figure means below it."""
    wide = console.width >= WIDE
    console.print(table(figures, wide))
    for one in figures if not wide else ():
        if one.what:
            console.print(f"  {one.name}: [dim]{escape(one.what)}[/]", soft_wrap=False)


def table(figures: Iterable[Judged], wide: bool) -> Table:
    """A line a figure; what it means where the screen is `wide`."""
    made = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    made.add_column("figure", no_wrap=True)
    for heading in ("value", "95 % interval"):
        made.add_column(heading, justify="right", no_wrap=True)
    for heading in ("unit", "asked for", "", *(("what",) if wide else ())):
        made.add_column(heading)
    verdicts = {True: "[green]kept[/]", False: "[red]missed[/]", None: ""}
    for one in figures:
        value = "not run" if one.value is None else f"{one.value:.4g}"
        interval = f"{one.interval[0]:.4g}..{one.interval[1]:.4g}" if one.interval else ""
        meaning = (escape(one.what),) if wide else ()
        made.add_row(one.name, value, interval, one.unit, one.bar, verdicts[one.kept], *meaning)
    return made


def conclude(figures: Sequence[Judged], json_file: Path | None, card_folder: Path | None = None) -> None:
    """Prints the figures and keeps them: in `json_file` and, where given, in the card of the version `card_folder`.

    Raises:
        click.ClickException: a bar is missed (after all is written), or the card cannot be read.
    """
    show(figures, Console())
    if json_file is not None:
        write(json_file, [one.row() for one in figures])
    if card_folder is not None:
        _into_card(figures, card_folder / CARD_FILE)
    missed = [f"{one.name} is {one.value:.4g} ({one.bar})" for one in figures if one.kept is False]
    if missed:
        raise click.ClickException("missed: " + "; ".join(missed))


def _into_card(figures: Iterable[Judged], path: Path) -> None:
    try:
        card: Card = parse_card(path.read_bytes())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{path}: {error}") from error
    kept = tuple(
        CardFigure(one.name, one.value, one.unit, one.interval, one.what, one.bar, one.kept) for one in figures
    )
    measured = Measured(without_folders(running_command()), machine(), kept)
    write_card(path.parent, msgspec.structs.replace(card, measured=measured))


def without_folders(command: str) -> str:
    """A command line with paths cut to their last names: a card goes to others, whose folders are not these."""
    cut = []
    for word in shlex.split(command):
        option, is_given, value = word.partition("=") if word.startswith("-") else ("", "", word)
        cut.append(f"{option}{is_given}{Path(value).name if '/' in value else value}")
    return shlex.join(cut)
