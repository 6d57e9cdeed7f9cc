"""`edge evaluate`: judges the shipped models on simulated and measured data."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "ptycho": Entry("edge.training.evaluate_ptycho:evaluate_ptycho", "Against a reference reconstruction.", "server"),
    "peaks": Entry("edge.training.evaluate_peaks:evaluate_peaks", "Simulated and measured Bragg spots.", "server"),
    "bragg": Entry("edge.training.evaluate_bragg:evaluate_bragg", "Centres and intensities of single spots.", "server"),
    "denoise": Entry("edge.training.evaluate_denoise:evaluate_denoise", "Simulated and thinned frames.", "server"),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def evaluate() -> None:
    """Judge the shipped models on simulated and measured data (needs the extra `server`)."""
