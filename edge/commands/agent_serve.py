"""`edge agent serve`: runs the agent for experiments that ask over ZeroMQ."""

import json
import logging
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path

import click
from threadpoolctl import threadpool_limits

from edge import config as configuration
from edge.commands.service import Refused, stop_at_eof, stop_on_signals
from edge.steering.experiments import Experiments
from edge.steering.log import LogError
from edge.steering.server import Server
from edge.supervision.notify import Notifier
from streams.sockets import KeysError, SocketError, context, read_keys

log = logging.getLogger(__name__)


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--proposal", default="", metavar="NAME", help="Overrides data.proposal.")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), metavar="YYYY-MM-DD",
              help="The day that {date} and {year} stand for in agent.folder; default: today.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the real address when ready.")
@click.option(
    "--stop-at-eof", "until_eof", is_flag=True, help="Stop when standard input closes: a parent process has ended."
)
def serve(path: Path, proposal: str, day: datetime | None, as_json: bool, until_eof: bool) -> None:
    """Run the adaptive-sampling agent at agent.listen, for experiments that ask over ZeroMQ.

    What it suggests and is told is in agent.folder before it is answered, a log for each experiment: it may be killed
    and started again at any time, and every experiment goes on.

    Ends at Ctrl-C or SIGTERM, within some seconds. A second signal ends it at once. Exit code 78: the configuration
    cannot be used.
    """
    try:
        config = configuration.load_placed(path, day.date() if day else date.today(), proposal)
        keys = read_keys(config.security.keys) if config.security.keys else None
    except (configuration.ConfigError, KeysError) as error:
        raise Refused(str(error)) from error
    for setting in ("listen", "folder"):
        if not getattr(config.agent, setting):
            raise Refused(f"{path}: agent.{setting} is not set, and the agent's service needs it")
    with ExitStack() as stack:
        notifier = Notifier()
        stack.callback(notifier.close)
        stack.enter_context(threadpool_limits(1))  # the machine is shared with Triton, and the products are small
        try:
            experiments = Experiments(Path(config.agent.folder))
            stack.callback(experiments.end)
            server = Server(stack.enter_context(context(keys=keys)), config.agent.listen, experiments)
        except (LogError, SocketError, OSError) as error:
            raise click.ClickException(str(error)) from error
        _run(server, experiments, notifier, as_json, until_eof)


def _run(server: Server, experiments: Experiments, notifier: Notifier, as_json: bool, until_eof: bool) -> None:
    def stop() -> None:
        notifier.stopping()
        server.stop()

    stop_on_signals(stop)
    if until_eof:
        stop_at_eof(stop)
    log.info("ready: agent %s", server.address)
    if as_json:
        click.echo(json.dumps({"agent": server.address}))
    notifier.ready()
    told = ""

    def beat() -> None:
        nonlocal told
        notifier.beat()
        if (now := server.desk.told()) != told:
            told = now
            notifier.status(now)

    try:
        server.run(beat)
    finally:
        notifier.stopping()
        experiments.end()
        server.close(linger_ms=200)
