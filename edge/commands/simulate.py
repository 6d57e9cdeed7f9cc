"""`edge simulate`: a detector that is controlled over HTTP, and the beamline beside it."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import click

from edge.commands import service
from edge.commands.secured import keys_option
from edge.config import ConfigError, host_and_port
from edge.simulate.scene import bragg_scene
from edge.simulate.simulator import Addresses, Options, running
from streams.codecs import ANNOUNCED
from streams.sockets import SocketError


@click.command()
@click.option("--protocol", type=click.Choice(ANNOUNCED), default="stream-v2", show_default=True,
              help="What the stream speaks.")  # fmt: skip
@click.option("--bind", metavar="ADDRESS", default="tcp://127.0.0.1:*", show_default=True,
              help="Where receivers connect; * takes a free port.")  # fmt: skip
@click.option("--http", metavar="HOST:PORT", default="127.0.0.1:0", show_default=True,
              help="Where clients control the detector; port 0 takes a free one.")  # fmt: skip
@click.option("--sample-seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Which sample is on the stage.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True,
              help="Photon noise: the same seed and the same commands give the same images.")  # fmt: skip
@click.option("--positions", is_flag=True, help="Send the stage's position with each image.")
@click.option("--write", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="Also write each series into files there, as an EIGER does.")  # fmt: skip
@keys_option
@click.option("--plain", is_flag=True,
              help="Let others than this machine watch and control it, as a real detector does.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line with the real addresses when ready.")
@click.option("--stop-at-eof", is_flag=True, help="Stop when standard input closes: a parent process has ended.")
def simulate(http: str, sample_seed: int, as_json: bool, stop_at_eof: bool, **options: Any) -> None:
    """Simulate a detector with a SIMPLON-like HTTP interface, and the beamline beside it.

    The detector looks at a sample on a stage of two axes; images leave over ZeroMQ when they are triggered.
    Ends at Ctrl-C or SIGTERM; a series that is open then is ended as by abort.

    \b
    Example:
      edge simulate --http 127.0.0.1:8000 --bind tcp://127.0.0.1:31001
      d=http://127.0.0.1:8000/detector/api/1.8.0
      curl -X PUT $d/command/initialize
      curl -X PUT -d '{"value": 3}' $d/config/nimages
      curl -X PUT $d/command/arm
      curl -X PUT $d/command/trigger
      curl -X PUT -d '{"value": 0.5}' http://127.0.0.1:8000/simulator/api/1.0/stage/x
    """
    stop = threading.Event()
    service.stop_on_signals(stop.set)
    if stop_at_eof:
        service.stop_at_eof(stop.set)
    try:
        host, port = host_and_port(http, "--http")
        chosen = Options(host=host, port=port, **options)
        _prepare(chosen.folder)
        with running(chosen, bragg_scene(sample_seed)) as addresses:
            _say_ready(addresses, chosen, as_json)
            stop.wait()
    except (ConfigError, SocketError) as error:
        raise click.ClickException(str(error)) from error


def _say_ready(addresses: Addresses, options: Options, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"stream": addresses.stream, "http": addresses.http, "pid": os.getpid()}))
        return
    click.echo(
        f"simulated detector: control {addresses.http}, {options.protocol} on {addresses.stream}; Ctrl-C ends it"
    )


def _prepare(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.ClickException(f"cannot write into {folder}: {error.strerror}; change --write") from error
