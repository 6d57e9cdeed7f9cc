"""`edge init`: asks a detector what it is, and writes a configuration for it."""

import os
import tomllib
from pathlib import Path

import click

from edge import config as configuration
from edge.experiment.errors import DetectorError
from edge.setup.detected import Detected, detected
from edge.setup.starter import starter, stream_address, warnings
from edge.simplon.discovery import asked


@click.command()
@click.option("--detector", "url", required=True, metavar="URL", help="Its control unit, e.g. http://10.42.41.10.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default="edge.toml",
              show_default=True, help="The file to write.")  # fmt: skip
@click.option("--stream", metavar="ADDRESS", default="",
              help="Where frames come from, if not from the detector itself: an `edge tee`.")  # fmt: skip
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def init(url: str, output: Path, stream: str, force: bool) -> None:
    """Ask a SIMPLON detector what it is, and write a configuration for it.

    The detector is asked (GET) and never told anything; its stream is not touched, for it may feed a file writer.

    \b
    Example:
      edge init --detector http://10.42.41.10
      edge watch
    """
    url = url.rstrip("/") if "://" in url else f"http://{url.rstrip('/')}"
    if output.exists() and not force:
        raise click.ClickException(f"{output} is there already; name another file with -o, or add --force")
    try:
        configuration.check_url(url, "--detector")
        if stream:
            configuration.check_address(stream, "--stream")
        client = asked(url)
        try:
            found = detected(client)
        finally:
            client.close()
        text = starter(found, stream)
        configuration.parse(tomllib.loads(text))  # what is written is what `edge serve` takes
        _write(output, text)
    except (configuration.ConfigError, DetectorError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"cannot write {output}: {error.strerror}; change -o") from error
    _tell(found, stream or stream_address(found), output)


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(text)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _tell(found: Detected, address: str, output: Path) -> None:
    height, width = found.shape
    click.echo(f"{found.description or 'detector'}: {width} x {height} pixels, {found.bits} bits, {found.protocol}")
    for text in warnings(found, address):
        click.echo(f"- {text}")
    click.echo(f"wrote {output}; now: edge watch -c {output}, or edge up -c {output}")
