"""`edge up`: everything that a configuration needs, started, watched, restarted and stopped."""

import os
import sys
from datetime import date
from pathlib import Path
from typing import NoReturn

import click

from edge import config as configuration
from edge.inference.errors import ServerError
from edge.serverplan import models_source
from edge.supervision import runfolder
from edge.supervision.record import Record
from edge.supervision.runner import supervise
from edge.supervision.services import Wanted, services
from edge.supervision.voice import Voice

EXIT_FAILED = 1
EXIT_HELD = 4
LAST_WORDS_S = 1.0
"""At the end: how long a terminal may take to show the last lines."""


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--proposal", default="", metavar="NAME", help="Whose data are taken; overrides data.proposal.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines: every change, all addresses when ready.")
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def up(path: Path, proposal: str, as_json: bool, stop_at_eof: bool) -> None:
    """Run everything that the configuration needs, and keep it running.

    Triton (where no server.url is set), the data plane, and the agent (where agent.listen is set) are processes of
    their own: started in that order, watched, and started again when they end or hang, for ever. Their logs are
    in the run folder (up.folder); warnings and errors are shown here, too. `edge status` says what runs.

    Ends at Ctrl-C or SIGTERM: each service finishes what it has in hand. A second signal kills them.

    \b
    Exit codes:
      0   stopped as asked
      1   could not start; one line says why
      2   wrong command line
      3   stopped as asked, but something had to be killed
      4   another `edge up` has the run folder
      78  the configuration cannot be used, as `edge up` or a service found
    """
    today = date.today()
    try:
        config = configuration.load_placed(path, today, proposal)
    except configuration.ConfigError as error:
        _fail(str(error), os.EX_CONFIG)
    try:
        # Decided once, for all services, whatever is deployed while they run.
        models = models_source(config) if config.server.models else None
    except ServerError as error:
        _fail(str(error), EXIT_FAILED)
    folder = runfolder.run_folder(config.up.folder)
    voice = Voice(sys.stdout.fileno(), as_json)
    running = services(Wanted(config, path.absolute(), folder, today, proposal, models))
    record = Record(folder, str(path.absolute()), config.data.proposal)
    try:
        code, reason = supervise(running, folder, voice, record, sys.stdin.fileno() if stop_at_eof else None)
    except runfolder.HeldError as error:
        _fail(str(error), EXIT_HELD)
    except runfolder.RunFolderError as error:
        _fail(str(error), EXIT_FAILED)
    voice.end(code, reason)
    voice.flush(LAST_WORDS_S)
    sys.exit(code)


def _fail(text: str, code: int) -> NoReturn:
    click.echo(f"Error: {text}", err=True)
    sys.exit(code)
