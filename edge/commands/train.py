"""`edge train`: trains the shipped models. The training itself needs torch."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "ptycho": Entry("edge.training.ptycho:train_ptycho", "Diffraction to amplitude and phase (PtychoNN).", "train"),
    "peaks": Entry("edge.training.peaks:train_peaks", "Bragg spots of a frame.", "train"),
    "bragg": Entry("edge.training.bragg:train_bragg", "One spot in a patch, to a fraction of a pixel.", "train"),
    "denoise": Entry("edge.training.denoise:train_denoise", "Expected counts from counted ones.", "train"),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def train() -> None:
    """Train the shipped models (needs the extra `train`)."""
