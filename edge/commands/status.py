"""`edge status`: what runs, since when, and what is wrong."""

import os
import sys
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.text import Text

from edge import config as configuration
from edge.supervision import processes, runfolder
from edge.supervision.overview import Overview, overview
from edge.supervision.runfolder import UpState
from streams.codecs.handshake import Readiness
from streams.controller import Controller
from streams.sockets import KeysError, SocketError, context, read_keys
from streams.subscriber import NoAnswer

ANSWER_S = 2.0
COLOURS = {"ready": "green", "waiting": "yellow", "starting": "yellow"}
COLUMNS = ("service", "state", "since", "pid", "restarts")
INDENT = 2


@click.command()
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), default="edge.toml", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(path: Path, as_json: bool) -> None:
    """Say what runs, since when, and what is wrong, with what to do about it.

    Asks the `edge up` of this configuration by its run folder (up.folder), and the data plane itself: so it also
    works where the services are run by systemd.

    \b
    Exit codes:
      0   all is well
      1   something is wrong, or not ready yet
      2   wrong command line
      3   nothing runs
      78  the configuration cannot be used
    """
    try:
        config = configuration.load(path)
    except configuration.ConfigError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(os.EX_CONFIG)
    folder = runfolder.run_folder(config.up.folder)
    up = _known(folder)
    found = overview(up, _ask(_address(config, up), config.security.keys), str(folder), str(path))
    if as_json:
        click.echo(msgspec.json.encode({**msgspec.to_builtins(found), "exit_code": found.exit_code}))
    else:
        show(found, Console(highlight=False))
    sys.exit(found.exit_code)


def _known(folder: Path) -> UpState | None:
    """What the `edge up` that holds the folder knows; None where there is none, or it has not written anything yet."""
    known = runfolder.read_state(folder) if runfolder.is_held(folder) else None
    return known if known and processes.began(known.pid) == known.began else None


def _address(config: configuration.Config, up: UpState | None) -> str:
    """Where the data plane listens: its own word where it took a free port."""
    told = [each.facts.get("handshake") for each in up.services if each.name == "serve"] if up else []
    address = next((one for one in told if isinstance(one, str)), config.results.handshake)
    scheme, _, place = address.partition("://")
    host, _, port = place.rpartition(":")
    return f"{scheme}://{'127.0.0.1' if host in ('*', '0.0.0.0') else host}:{port}"


def _ask(address: str, keys: str) -> Readiness | str:
    """The data plane's answer, or why there is none."""
    if address.endswith(":*"):
        return "the data plane has a free port that nobody knows; set results.handshake"
    try:
        with context(keys=read_keys(keys) if keys else None) as ctx, Controller(ctx, address, ANSWER_S) as controller:
            return controller.ready()
    except (NoAnswer, SocketError, KeysError) as error:
        return str(error)


def show(found: Overview, console: Console) -> None:
    """For people: wrapped at words on a terminal, one line for each thing elsewhere."""
    if found.up is not None:
        up = found.up
        proposal = f", proposal {up.proposal}" if up.proposal else ""
        what = "stopping" if up.stopping else "running"
        _say(console, f"edge up (pid {up.pid}) with {up.config}{proposal}: {what}, since {_when(up.since)}")
        _services(up, console)
    if (plane := found.data_plane) is not None:
        _say(console, f"data plane {plane.version}, since {_when(plane.started_ns / 1e9)}")
        for name, text in _plane(plane).items():
            _say(console, Text.assemble((f"{name:<14}", "bold"), text or "-"), INDENT)
    for problem in found.problems:
        _say(console, Text.assemble((f"{problem.what}: ", "bold red"), problem.why))
        _say(console, f"-> {problem.remedy}", INDENT)
    if not found.problems:
        _say(console, Text("all is well", style="green"))


def _say(console: Console, text: str | Text, indent: int = 0) -> None:
    text = Text(text) if isinstance(text, str) else text
    lines = text.wrap(console, max(20, console.width - indent)) if console.is_terminal else [text]
    for line in lines:
        line.rstrip()
        console.print(Text(" " * indent).append_text(line), soft_wrap=True)


def _services(up: UpState, console: Console) -> None:
    """A row for each service, and below it what it says itself and how it ended last."""
    rows = [COLUMNS, *((s.name, s.state, _when(s.since), str(s.pid or "-"), str(s.restarts)) for s in up.services)]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    padded = [[f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)] for row in rows]
    _say(console, Text("".join(padded[0]), style="bold"), INDENT)
    for (name, state, *rest), each in zip(padded[1:], up.services, strict=True):
        _say(console, Text.assemble(name, (state, COLOURS.get(each.state, "red")), *rest), INDENT)
        if each.status:
            _say(console, f"says: {each.status}", INDENT + widths[0])
        if each.last_end:
            _say(console, f"last end: {each.last_end}", INDENT + widths[0])


def _plane(plane: Readiness) -> dict[str, str]:
    return {
        "sources": ", ".join(f"{name}: {peers} connected" for name, peers in plane.sources.items()),
        "models": ", ".join(f"{name}: {'ready' if good else 'not ready'}" for name, good in plane.models.items()),
        "subscribers": ", ".join(plane.subscribers),
        "open series": str(plane.series_open),
        "recovering": ", ".join(plane.recovering),
        "recording": plane.recording,
        "result files": plane.results,
    }


def _when(wall_s: float) -> str:
    """A time of this machine, with its day where that is not today, and how long ago it was."""
    passed = max(0, int(time.time() - wall_s))
    days, hours, minutes, seconds = passed // 86400, passed // 3600 % 24, passed // 60 % 60, passed % 60
    parts = [f"{days} d {hours} h", f"{hours} h {minutes} min", f"{minutes} min {seconds} s", f"{seconds} s"]
    ago = parts[0 if days else 1 if hours else 2 if minutes else 3]
    then = time.localtime(wall_s)
    today = then[:3] == time.localtime()[:3]
    return f"{time.strftime('%H:%M:%S' if today else '%Y-%m-%d %H:%M:%S', then)} ({ago})"
