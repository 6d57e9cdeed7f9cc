"""`edge keys token`: who may ask over HTTP from other machines."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec

from edge.http.tokenfile import FILE, changing, read_tokens, write_tokens
from edge.http.tokens import Name, Token, TokenError, added, new_token, revoked


@click.command()
@click.argument("name", required=False)
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="How long it is valid.")
@click.option("--list", "listing", is_flag=True, help="Show all tokens, not their secrets: nobody has those but you.")
@click.option("--revoke", metavar="NAME", help="Refuse this token from now on.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="keys", show_default=True,
              help="Folder of keys; setting security.keys.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def token(name: str | None, days: int, listing: bool, revoke: str | None, folder: Path, as_json: bool) -> None:
    """Make a token NAME for HTTP from other machines, and print it once; only its hash is stored.

    A running process takes new tokens, and refuses revoked ones, from the next request on.

    \b
    Example:
      edge keys token prometheus --days 365 > prometheus.token
      curl --cacert keys/tls.crt -H "Authorization: Bearer $(cat prometheus.token)" https://HOST:9100/metrics
    """
    if [name is not None, listing, revoke is not None].count(True) != 1:
        raise click.UsageError("give a NAME for a new token, or --list, or --revoke NAME")
    try:
        if name is not None:
            _make(folder, name, timedelta(days=days), as_json)
        elif revoke is not None:
            _revoke(folder, revoke, as_json)
        else:
            _list(read_tokens(folder / FILE), as_json)
    except TokenError as error:
        raise click.ClickException(str(error)) from error


def _make(folder: Path, name: str, lifetime: timedelta, as_json: bool) -> None:
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"{name!r} is no name; use up to 64 letters, digits, `_`, `-` and `.`") from error
    secret, made = new_token(name, datetime.now(UTC).replace(microsecond=0), lifetime)
    with changing(folder) as path:
        tokens = read_tokens(path) if path.exists() else ()
        write_tokens(path, added(tokens, made))
    if as_json:
        click.echo(json.dumps({"name": name, "token": secret, "expires": made.expires.isoformat()}))
        return
    click.echo(secret)
    click.echo(f"token {name!r}, valid until {_day(made)}; it is shown this once", err=True)


def _revoke(folder: Path, name: str, as_json: bool) -> None:
    with changing(folder) as path:
        write_tokens(path, revoked(read_tokens(path), name))
    click.echo(json.dumps({"revoked": name}) if as_json else f"token {name!r} is refused from now on")


def _list(tokens: Sequence[Token], as_json: bool) -> None:
    now = datetime.now(UTC)
    if as_json:
        rows = [{"name": each.name, "created": each.created.isoformat(), "expires": each.expires.isoformat(),
                 "expired": each.expires <= now} for each in tokens]  # fmt: skip
        click.echo(json.dumps({"tokens": rows}))
        return
    for each in tokens:
        click.echo(f"{each.name}: {'EXPIRED on' if each.expires <= now else 'valid until'} {_day(each)}")
    if not tokens:
        click.echo("no tokens; make one with: edge keys token NAME")


def _day(token: Token) -> str:
    return f"{token.expires:%Y-%m-%d %H:%M} UTC"
