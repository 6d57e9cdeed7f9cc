"""How `edge watch` tells: a live table in a terminal, lines elsewhere, JSON where a program listens."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import click
from rich.console import Console
from rich.live import Live

from edge.watch.board import Board, closing_line, plain
from edge.watch.table import table
from streams.codecs.results import Notice, SeriesEnded, SeriesStarted

REDRAW_S = 0.25
PROGRESS_S = 10.0


class View(Protocol):
    def notice(self, notice: Notice) -> None:
        """A notice was taken in."""
        ...

    def warning(self, line: str) -> None:
        """The data plane logged it."""
        ...

    def refresh(self, board: Board) -> None:
        """Called often."""
        ...


class JsonLines:
    """One line a closed series."""

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, SeriesEnded):
            click.echo(json.dumps(plain(notice)))

    def warning(self, line: str) -> None:
        click.echo(line, err=True)

    def refresh(self, board: Board) -> None:
        board.rows(time.monotonic())


class Lines:
    """A line when a series begins and ends, and now and then between."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()
        self._troubles: list[str] = []

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, SeriesStarted):
            expected = "an unknown number of" if notice.expected is None else notice.expected
            click.echo(f"series {notice.series_id} of {notice.source} on {notice.route}: {expected} images expected")
        elif isinstance(notice, SeriesEnded):
            click.echo(closing_line(notice))

    def warning(self, line: str) -> None:
        click.echo(line, err=True)

    def refresh(self, board: Board) -> None:
        rows, now = board.rows(time.monotonic()), time.monotonic()
        if now - self._told_at < PROGRESS_S:
            return
        self._told_at = now
        if board.troubles != self._troubles:
            self._troubles = board.troubles
            click.echo("\n".join(self._troubles))
        for row in rows:
            if row.open:
                click.echo(
                    f"series {row.series_id} of {row.source} on {row.route}: {row.published} results, "
                    f"{row.rate_hz:.1f} Hz; {row.values}"
                )


@dataclass
class Screen:
    """A table that is drawn anew; closed series scroll by above it."""

    live: Live
    note: str
    drawn_at: float = 0.0

    def notice(self, notice: Notice) -> None:
        if isinstance(notice, SeriesEnded):
            self.live.console.print(closing_line(notice), markup=False, highlight=False)

    def warning(self, line: str) -> None:
        self.live.console.print(line, style="yellow", markup=False, highlight=False)

    def refresh(self, board: Board) -> None:
        now = time.monotonic()
        if now - self.drawn_at >= REDRAW_S:
            self.drawn_at = now
            self.live.update(table(board.rows(now), self.note, board.troubles), refresh=True)


@contextmanager
def view(as_json: bool, note: str) -> Iterator[View]:
    """What fits where standard output goes."""
    console = Console()
    if as_json:
        yield JsonLines()
    elif not console.is_terminal:
        yield Lines()
    else:
        with Live(table([], note), console=console, auto_refresh=False) as live:
            yield Screen(live, note)
