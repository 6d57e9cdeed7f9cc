"""`edge models`: what is shipped and your own, which version serves, and a repository for a Triton of your own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edge import config as configuration
from edge.commands import model_card
from edge.inference import deploying
from edge.inference import own as owned
from edge.inference.cards import card_of
from edge.inference.errors import ServerError
from edge.inference.options import cache_folder
from edge.inference.own import Version
from edge.inference.repository import SHIPPED, Assembly, assemble
from edge.models.card import CardError
from edge.models.registry import MODELS
from edge.models.spec import ANY, ModelSpec

DEFAULT_CONFIG = Path("edge.toml")
ALL_SHIPPED = "shipped"
NEXT_START = "a server that runs keeps what it has: start it anew"


class NumberOrShipped(click.ParamType):
    """The number of a version, or "shipped", which a number cannot name where one of your own has it too."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        return value if value == ALL_SHIPPED else click.INT.convert(value, param, ctx)


@click.group()
def models() -> None:
    """List the models, choose which version of your own serves; build a repository for a Triton of your own."""


def own_models(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say where models of one's own are."""
    folder = click.option("--models", "own", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
                          help="Folder with models of your own; default: server.models.")  # fmt: skip
    config = click.option("-c", "--config", "path", type=click.Path(path_type=Path),
                          help="Configuration that names it.  [default: edge.toml, where there is one]")  # fmt: skip
    return folder(config(command))


@models.command("list")
@own_models
def list_models(own: Path | None, path: Path | None) -> None:
    """Show every model, shipped and your own: which version serves, what goes in, what comes out."""
    table = Table("model", "version", "", "sha256", "frames and outputs")
    for column in table.columns[:4]:
        column.no_wrap = True
    try:
        folder = _own_folder(own, path)
        for spec in MODELS.values():
            for row in _rows(spec, folder):
                table.add_row(*row)
        strangers = owned.foreign(folder, list(MODELS)) if folder is not None else []
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    Console().print(table)
    if strangers:
        click.echo(f"no model is called {', '.join(strangers)}: these folders of {folder} are ignored", err=True)


def _rows(spec: ModelSpec, own: Path | None) -> Iterator[tuple[str, ...]]:
    """One for each version; what the model is, only once."""
    serving = owned.serving(spec.name, own)
    outputs = "\n".join(
        f"{output.name} {output.dtype} {_lengths(output.shape)} [{output.units}]" for output in spec.outputs
    )
    bits = ", ".join(str(8 * size) for size in spec.itemsizes)
    what = f"frames {_lengths(spec.frame_shape)}, {bits} bits a pixel, {spec.max_batch} at once\n{escape(outputs)}"
    for version in owned.versions_of(spec.name, own):
        said = f"{'own' if version.own else 'shipped'}{_standing(version, serving)}"
        yield (spec.name if what else "", str(version.number), said, version.sha256[:12], what)
        what = ""


def _standing(version: Version, serving: Version) -> str:
    if version == serving:
        return ", serves"
    return ", withdrawn" if version.withdrawn else ""


def _lengths(shape: tuple[int, ...]) -> str:
    """ANY is the frame's own height or width."""
    return " x ".join("any" if length == ANY else str(length) for length in shape)


@models.command()
@click.argument("model", type=click.Choice(sorted(MODELS)))
@click.option("--version", "number", type=int, help="Default: the one that serves.")
@click.option("--json", "as_json", is_flag=True, help="Print the card itself.")
@click.option("--markdown", is_flag=True, help="Print it for a page.")
@own_models
def card(model: str, number: int | None, as_json: bool, markdown: bool, own: Path | None, path: Path | None) -> None:
    """Show the card of a model: what it learned from, how good it is, where it may be believed."""
    try:
        version = _version(model, number, _own_folder(own, path))
        found = card_of(version.folder)
    except (ServerError, CardError) as error:
        raise click.ClickException(str(error)) from error
    if found is None:
        raise click.ClickException(f"version {version.number} of {model} has no card: {version.folder}")
    if as_json or markdown:
        click.echo(model_card.as_json(found) if as_json else model_card.markdown(found), nl=as_json)
        return
    for part in model_card.tables(found, version.number, str(version.folder)):
        Console().print(part)


@models.command()
@click.argument("model", type=click.Choice(sorted(MODELS)))
@click.argument("made", metavar="FOLDER", type=click.Path(exists=True, file_okay=False, path_type=Path))
@own_models
def add(model: str, made: Path, own: Path | None, path: Path | None) -> None:
    """Make what `edge train` wrote to FOLDER the next version of MODEL: it serves from the next start on."""

    def added(folder: Path) -> list[Version]:
        deploying.add(MODELS[model], made, folder)
        return []

    _change(added, model, own, path)


@models.command()
@click.argument("model", type=click.Choice(sorted(MODELS)))
@click.argument("number", metavar="VERSION", type=NumberOrShipped())
@own_models
def use(model: str, number: int | str, own: Path | None, path: Path | None) -> None:
    """Have VERSION of MODEL serve from the next start on; later ones of your own are set aside.

    "shipped" sets all of your own aside.
    """
    wanted = None if isinstance(number, str) else number
    _change(lambda folder: deploying.use(model, wanted, folder), model, own, path)


@models.command()
@click.argument("model", type=click.Choice(sorted(MODELS)))
@own_models
def rollback(model: str, own: Path | None, path: Path | None) -> None:
    """Set the newest version of your own of MODEL aside: the one before it serves from the next start on."""

    def newest(folder: Path) -> list[Version]:
        return [deploying.withdraw(owned.serving(model, folder))]

    _change(newest, model, own, path)


def _change(change: Callable[[Path], list[Version]], model: str, own: Path | None, path: Path | None) -> None:
    try:
        folder = _own_folder(own, path)
        if folder is None:
            raise click.UsageError("which folder? Name it with --models DIR, or set server.models in edge.toml")
        aside = change(folder)
        serving = owned.serving(model, folder)
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    for version in aside:
        click.echo(f"{model} {version.number} is set aside: {version.folder}")
    whose = "your own" if serving.own else "the shipped one"
    click.echo(f"{model} {serving.number}, {whose}, serves from the next start on; {NEXT_START}")


@models.command()
@click.option("--target", type=click.Choice(["cpu", "tensorrt"]), default="cpu", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="A folder that does not exist yet.")
@click.argument("names", nargs=-1)
@own_models
def build(
    target: Literal["cpu", "tensorrt"], output: Path, names: tuple[str, ...], own: Path | None, path: Path | None
) -> None:
    """Write a complete Triton model repository of NAMES (default: all models) to a folder."""
    unknown = set(names) - set(MODELS)
    if unknown:
        raise click.ClickException(f"no model {sorted(unknown)[0]!r}; there are {', '.join(sorted(MODELS))}")
    if output.exists():
        raise click.ClickException(f"{output} exists; name a new folder")
    try:
        wanted = tuple(MODELS[name] for name in names or MODELS)
        folder = _own_folder(own, path)
        source = SHIPPED if folder is None else owned.snapshot(wanted, folder, cache_folder())
        built = assemble(Assembly(target, wanted, source=source), cache_folder())
    except ServerError as error:
        raise click.ClickException(str(error)) from error
    shutil.copytree(built, output)
    click.echo(f"{output}: {', '.join(sorted(path.name for path in output.iterdir()))}")
    if target == "tensorrt":
        click.echo("engines are not built yet: make model.plan of each model.onnx with trtexec on the serving host")
        return
    click.echo(f"serve it with: tritonserver --model-repository={output} --model-control-mode=explicit")


def _version(model: str, number: int | None, own: Path | None) -> Version:
    if number is None:
        return owned.serving(model, own)
    found = [version for version in owned.versions_of(model, own) if version.number == number]
    if not found:
        raise click.ClickException(f"{model} has no version {number}; `edge models list` shows all")
    return found[-1]


def _own_folder(own: Path | None, path: Path | None) -> Path | None:
    """Where models of one's own are, if anywhere."""
    if own is not None:
        return own.absolute()
    if path is None and not DEFAULT_CONFIG.exists():
        return None
    try:
        named = configuration.load(path or DEFAULT_CONFIG).server.models
    except configuration.ConfigError as error:
        raise click.ClickException(str(error)) from error
    return Path(named).absolute() if named else None
