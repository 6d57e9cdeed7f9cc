"""`edge models`: what is shipped, and a repository of it for a Triton of your own."""

import shutil
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge.inference.errors import ServerError
from edge.inference.options import cache_folder
from edge.inference.repository import Assembly, assemble, model_sha256
from edge.models.registry import MODELS
from edge.models.spec import ANY


@click.group()
def models() -> None:
    """List the models; build a repository for a Triton of your own."""


@models.command("list")
def list_models() -> None:
    """Show every shipped model: what goes in, what comes out."""
    table = Table("model", "frame", "bits a pixel", "outputs", "batch", "sha256")
    for spec in MODELS.values():
        outputs = "\n".join(
            f"{output.name} {output.dtype} {_lengths(output.shape)} [{output.units}]" for output in spec.outputs
        )
        bits = ", ".join(str(8 * size) for size in spec.itemsizes)
        facts = (spec.name, _lengths(spec.frame_shape), bits, escape(outputs), str(spec.max_batch))
        table.add_row(*facts, model_sha256(spec.name)[:12])
    Console().print(table)


def _lengths(shape: tuple[int, ...]) -> str:
    """ANY is the frame's own height or width."""
    return " x ".join("any" if length == ANY else str(length) for length in shape)


@models.command()
@click.option("--target", type=click.Choice(["cpu", "tensorrt"]), default="cpu", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet.")
@click.argument("names", nargs=-1)
def build(target: Literal["cpu", "tensorrt"], output: Path, names: tuple[str, ...]) -> None:
    """Write a complete Triton model repository of NAMES (default: all models) to a folder."""
    unknown = set(names) - set(MODELS)
    if unknown:
        raise click.ClickException(f"no model {sorted(unknown)[0]!r}; there are {', '.join(sorted(MODELS))}")
    if output.exists():
        raise click.ClickException(f"{output} exists; name a new folder")
    try:
        wanted = tuple(MODELS[name] for name in names or MODELS)
        built = assemble(Assembly(target, wanted), cache_folder())
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    shutil.copytree(built, output)
    click.echo(f"{output}: {', '.join(sorted(path.name for path in output.iterdir()))}")
    if target == "tensorrt":
        click.echo("engines are not built yet: make model.plan of each model.onnx with trtexec on the serving host")
        return
    click.echo(f"serve it with: tritonserver --model-repository={output} --model-control-mode=explicit")
