"""`edge bench`: measures on this machine what the product promises."""

import click

from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "faults": Entry("edge.commands.bench_faults:faults", "Every fault in every protocol: is the account true?"),
    "crash": Entry("edge.commands.bench_crash:crash", "What a killed data plane costs."),
    "chaos": Entry("edge.commands.bench_chaos:chaos", "Rows of the failure table at random, while a detector sends."),
    "hostile": Entry("edge.commands.bench_hostile:hostile", "Attacks on every port of a running system."),
    "fuzz": Entry("edge.commands.bench_fuzz:fuzz", "Hostile inputs for all that reads bytes of strangers.", "bench"),
    "ingest": Entry("edge.commands.bench_ingest:ingest", "CPU time of a frame from the socket into its slot."),
    "pipeline": Entry("edge.commands.bench_pipeline:pipeline", "What a frame costs from the wire to its result."),
    "latency": Entry("edge.commands.bench_latency:latency", "What is added to the time that Triton takes."),
    "soak": Entry("edge.commands.bench_soak:soak", "Millions of frames: does anything grow, or get lost?"),
    "overload": Entry("edge.commands.bench_overload:overload", "A model too slow for its detector: what is dropped?"),
    "pause": Entry("edge.commands.bench_pause:pause", "How soon a pause of a running adaptive map is honoured."),
}


@click.group(cls=LazyCommands, entries=ENTRIES)
def bench() -> None:
    """Measure on this machine what is promised."""
