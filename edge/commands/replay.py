"""`edge replay`: sends what was measured as a detector would, so that all behind it can be tried without a beam."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from edge.commands import replay_capture, replay_file
from edge.commands.replay_wire import Secured
from edge.commands.secured import keys_option
from edge.scanfiles import ScanFileError
from streams.codecs import ENCODERS
from streams.messages import Compression
from streams.recording.reader import Span
from streams.recording.segments import RecordingError
from streams.simulation.faults import FAULTS, Faults, read_fault
from streams.simulation.simulator import SimulatorError
from streams.sockets import Pattern, SocketError

OF_FILES = {"protocol", "compression", "dataset", "origin", "frames", "series_id"}
OF_CAPTURES = {"speed", "messages", "seconds", "series"}


class SpanType(click.ParamType):
    """A:B, from A to before B; either may be left out."""

    name = "A:B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Span:
        if not isinstance(value, str):
            return value
        first, colon, last = value.partition(":")
        try:
            bounds = (float(first) if first else None, float(last) if last else None)
        except ValueError:
            colon, bounds = "", (None, None)
        if not colon:
            self.fail(f"{value!r} is no range; write A:B, A: or :B, e.g. 100:200", param, ctx)
        return bounds


@click.command()
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@click.option("--bind", metavar="ADDRESS",
              help="Where receivers connect. [default: tcp://127.0.0.1 and the protocol's usual port]")  # fmt: skip
@click.option("--socket", type=click.Choice(get_args(Pattern)),
              help="How receivers listen. [default: pull; of a capture, as it was received]")  # fmt: skip
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="HZ",
              help="Images (of a capture: messages) per second. [default: as fast as they are taken]")  # fmt: skip
@click.option("--loop", is_flag=True, help="Send it again and again until interrupted; a file as series after series.")
@click.option("--wait", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="SECONDS",
              help="Patience with a receiver that has not connected yet.")  # fmt: skip
@click.option("--fault", "faults", multiple=True, metavar="NAME[=VALUE]",
              help=f"Let it go wrong on purpose, may be repeated: {', '.join(FAULTS)}.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the faults.")
@keys_option
@click.option("--plain", is_flag=True, help="Do not encrypt, as a real detector, even beyond this machine.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@click.option("--protocol", type=click.Choice(list(ENCODERS)),
              help="File: what the detector speaks. [default: simplon-v1]")  # fmt: skip
@click.option("--compression", type=click.Choice([str(c) for c in Compression]),
              help="File: simplon-v1: none, lz4-block or bslz4; stream-v2: none, lz4-hdf5, bslz4 or bszstd. "
                   "[default: the protocol's usual one]")  # fmt: skip
@click.option("--dataset", metavar="NAME", help="File: the frames, where it holds several stacks.")
@click.option("--origin", type=click.Choice(["auto", "corner", "centre"]), default="auto", show_default=True,
              help="File: where the direct beam is in its frames; they are sent with it in the centre.")  # fmt: skip
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="File: send only the first N frames.")
@click.option("--series-id", type=click.IntRange(min=1), default=1, show_default=True,
              help="File: number of the (first) series.")  # fmt: skip
@click.option("--speed", type=click.FloatRange(min=0, min_open=True), metavar="X",
              help="Capture: X times the pace at which it was received; 1: as it was.")  # fmt: skip
@click.option("--messages", type=SpanType(), help="Capture: these only, counted from 0.")
@click.option("--seconds", type=SpanType(), help="Capture: what came then, counted from its first message.")
@click.option("--series", type=int, metavar="ID", help="Capture: the series of this number only.")
@click.pass_context
def replay(ctx: click.Context, path: Path, as_json: bool, faults: tuple[str, ...], seed: int, **options: Any) -> None:
    """Send what was measured over ZeroMQ as a detector does.

    FILE is a scan: .npz, .npz.bz2, .npy, HDF5, CXI or TIFF; positions in it travel with the frames. FOLDER is a capture
    of `edge record` or `edge serve --record`: its messages leave byte for byte. Nothing is sent before a receiver has
    connected.

    \b
    Examples:
      edge replay scan.cxi --rate 100
      edge replay star.npz.bz2 --protocol stream-v2 --bind 'tcp://*:31001' --plain --loop
      edge replay captures/eiger --speed 1 --series 34
    """
    kind, others = ("capture", OF_FILES) if path.is_dir() else ("file", OF_CAPTURES)
    for name in sorted(others):
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} is not for a {kind}, and {path} is one")
    options["secured"] = Secured(options.pop("keys"), options.pop("plain"))
    mine = {name: value for name, value in options.items() if name not in others}
    try:
        mine["faults"] = Faults(orders=tuple(map(read_fault, faults)), seed=seed)
        if kind == "capture":
            sent = replay_capture.send_capture(path, _capture_options(mine))
        else:
            sent = replay_file.send_file(path, replay_file.Options(**mine))
    except (ScanFileError, RecordingError, SocketError, SimulatorError) as error:
        raise click.ClickException(str(error)) from error
    except ValueError as error:  # the protocol cannot carry what was asked for
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(asdict(sent)) if as_json else sent.line())


def _capture_options(options: dict[str, Any]) -> replay_capture.Options:
    if options["rate"] and options["speed"]:
        raise click.UsageError("--rate or --speed, not both")
    spans = {name: options[name] or (None, None) for name in ("messages", "seconds")}
    return replay_capture.Options(**{**options, **spans})
