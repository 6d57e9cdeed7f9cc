"""The `edge` command. Each subcommand composes its parts in its own file under edge/commands."""

import logging
from typing import Any

import click

from edge import logs
from edge.commands.lazy import Entry, LazyCommands

ENTRIES = {
    "up": Entry("edge.commands.up:up", "Run everything that a configuration needs, and keep it running."),
    "status": Entry("edge.commands.status:status", "Say what runs, since when, and what is wrong."),
    "config": Entry("edge.commands.config:config", "Check a configuration; show it with all defaults."),
    "keys": Entry("edge.commands.keys:keys", "Make the keys, certificates and tokens of those who may connect."),
    "serve": Entry("edge.commands.serve:serve", "Run the data plane: frames in, inference, results out."),
    "init": Entry("edge.commands.init:init", "Ask a detector what it is, and write a configuration for it."),
    "watch": Entry("edge.commands.watch:watch", "Run the data plane beside a detector and show what becomes of it."),
    "triton": Entry("edge.commands.triton:triton", "Keep a Triton server ready for the models of the configuration."),
    "agent": Entry("edge.commands.agent:agent", "Run the adaptive-sampling agent as a process of its own."),
    "tee": Entry("edge.commands.tee:tee", "Stand in front of a file writer and pass on a copy."),
    "simulate": Entry("edge.commands.simulate:simulate", "Run a simulated detector and beamline to play with."),
    "record": Entry("edge.commands.record:record", "Record the raw messages of a detector."),
    "captures": Entry("edge.commands.captures:captures", "Show what was recorded."),
    "replay": Entry("edge.commands.replay:replay", "Stream a file of frames, or a capture, as a detector would."),
    "demo": Entry("edge.commands.demo:demo", "Run a complete experiment on this machine."),
    "results": Entry("edge.commands.results:results", "Show a result file, or build it from its log."),
    "doctor": Entry("edge.commands.doctor:doctor", "Check that this machine can run everything."),
    "orient": Entry("edge.commands.orient:orient", "Find how detector image and scan axes belong together."),
    "models": Entry("edge.commands.models:models", "List the models; build a repository for a Triton of your own."),
    "evaluate": Entry("edge.commands.evaluate:evaluate", "Judge the shipped models on measured data."),
    "bench": Entry("edge.commands.bench:bench", "Measure what the documentation claims."),
    "train": Entry("edge.commands.train:train", "Train the shipped models (needs the extra `train`)."),
}


@click.group(cls=LazyCommands, entries=ENTRIES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.version_option(package_name="detector-edge")
def edge(verbose: bool) -> None:
    """Streaming edge inference beside a detector."""
    logs.start(logging.DEBUG if verbose else logging.INFO)


def main(args: list[str] | None = None) -> Any:
    """Entry point of the console script."""
    return edge.main(args, prog_name="edge")
