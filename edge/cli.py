"""The `edge` command. Each subcommand composes its parts in its own file under edge/commands."""

import importlib
import logging
from typing import Any

import click

COMMANDS = {
    "serve": ("edge.commands.serve:serve", "Run the data plane: frames in, inference, results out."),
    "replay": ("edge.commands.replay:replay", "Stream a file of frames as a detector would."),
    "demo": ("edge.commands.demo:demo", "Run a complete experiment on this machine."),
    "doctor": ("edge.commands.doctor:doctor", "Check that this machine can run everything."),
    "models": ("edge.commands.models:models", "List the models; build a repository for a Triton of your own."),
    "train": ("edge.commands.train:train", "Train the shipped models (needs the extra `train`)."),
}


class LazyCommands(click.Group):
    """Imports a subcommand when it is asked for, so that `edge --help` is quick and extras stay optional."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
@click.version_option(package_name="detector-edge")
def edge(verbose: bool) -> None:
    """Streaming edge inference beside a detector."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)-7s %(message)s",
        datefmt="%H:%M:%S",
    )
    for noisy in ("matplotlib", "h5py", "PIL", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def main(args: list[str] | None = None) -> Any:
    """Entry point of the console script."""
    return edge.main(args, prog_name="edge")
