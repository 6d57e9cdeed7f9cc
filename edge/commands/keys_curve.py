"""`edge keys new`, `client`, `list` and `revoke`: keys of ZeroMQ sockets. No secret is ever printed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from streams.sockets import KeysError, keymaking

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default="keys", show_default=True, help="The keys of the service."
)
json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.command()
@folder_option
@json_option
def new(folder: Path, as_json: bool) -> None:
    """Make the keys of a service in a new folder."""
    with _in_one_line():
        public = keymaking.make_service(folder)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "public": str(public), "secret": f"{public}_secret"}))
        return
    click.echo(
        f"{public}         public: `edge keys client` hands it to clients\n"
        f"{public}_secret  secret: stays here, readable to you alone\n"
        f"{folder}/clients/           who may connect: `edge keys client NAME --output DIR` adds one\n"
        f'next: set keys = "{folder.absolute()}" under [security] in edge.toml'
    )


@click.command()
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="DIR",
              help="Where the client's own folder is made.")  # fmt: skip
@folder_option
@json_option
def client(name: str, output: Path, folder: Path, as_json: bool) -> None:
    """Make keys for the client NAME, and let it connect."""
    with _in_one_line():
        allows = keymaking.make_client(folder, name, output)
    if as_json:
        click.echo(json.dumps({"name": name, "allowed_by": str(allows), "output": str(output)}))
        return
    click.echo(
        f"{allows}  stays here: {name} may connect from now on\n"
        f"{output}/  goes to the machine of {name}, e.g. by scp -pr, and nowhere else: it holds a secret key\n"
        f"there: --keys {output}, or keys={str(output)!r} in Python"
    )


@click.command("list")
@folder_option
@json_option
def list_clients(folder: Path, as_json: bool) -> None:
    """Show who may connect, with their public keys."""
    with _in_one_line():
        found = keymaking.clients(folder)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "clients": found}))
        return
    width = max(map(len, found), default=0)
    lines = [f"{name:{width}}  {key}" for name, key in sorted(found.items())]
    click.echo(
        "\n".join(lines) or f"nobody but the service itself; `edge keys client NAME --output DIR --folder {folder}`"
    )


@click.command()
@click.argument("name")
@folder_option
@json_option
def revoke(name: str, folder: Path, as_json: bool) -> None:
    """Let the client NAME no longer connect.

    Connections that are open stay open until either end is started anew.
    """
    with _in_one_line():
        gone = keymaking.revoke(folder, name)
    if as_json:
        click.echo(json.dumps({"name": name, "removed": str(gone)}))
        return
    click.echo(
        f"{gone} is gone: {name} cannot connect any more; what is open stays open until `edge serve` is restarted"
    )


@contextmanager
def _in_one_line() -> Iterator[None]:
    try:
        yield
    except KeysError as error:
        raise click.ClickException(str(error)) from error
