"""Options of commands that open ZeroMQ sockets without a configuration file."""

from pathlib import Path

import click

keys_option = click.option(
    "--keys", type=click.Path(path_type=Path), metavar="FOLDER", help="Encrypt with the keys in it (`edge keys`)."
)
