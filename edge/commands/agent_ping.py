"""`edge agent ping`: whether the agent's service answers."""

import json
from datetime import datetime
from pathlib import Path

import click
import msgspec

from edge.commands.secured import keys_option
from edge.steering import client
from edge.steering.wire import Pong
from streams.sockets import KeysError, SocketError, read_keys


@click.command()
@click.argument("address")
@keys_option
@click.option("--timeout", type=click.FloatRange(0.1, 600), default=2.0, show_default=True, metavar="SECONDS")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def ping(address: str, keys: Path | None, timeout: float, as_json: bool) -> None:
    """Ask the agent's service at ADDRESS (agent.listen, e.g. tcp://127.0.0.1:5610) whether it runs.

    Exit code 1 where nobody answers.
    """
    try:
        pong = client.ping(address, read_keys(keys) if keys else None, timeout)
    except (KeysError, SocketError) as error:
        raise click.ClickException(str(error)) from error
    if pong is None:
        raise click.ClickException(
            f"nobody answers at {address} for {timeout:g} s; is `edge agent serve` running there, and is this its "
            "agent.listen? Where it has keys, --keys is needed"
        )
    click.echo(json.dumps(msgspec.to_builtins(pong)) if as_json else _told(pong))


def _told(pong: Pong) -> str:
    since = datetime.fromtimestamp(pong.since).astimezone().isoformat(timespec="seconds")
    counts = ", ".join(f"{name} {number}" for name, number in sorted(pong.counts.items())) or "nothing asked yet"
    return f"runs since {since}, pid {pong.pid}\nexperiments: {', '.join(pong.experiments) or 'none open'}\n{counts}"
