"""`edge keys tls`: a self-signed certificate, for sites without a certificate authority of their own."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from edge.http.access import CERTIFICATE, KEY


@click.command()
@click.option("--host", "hosts", multiple=True, required=True, metavar="NAME",
              help="How clients call this machine: a name or an IP address; may be given several times.")  # fmt: skip
@click.option("--days", type=click.IntRange(1, 3660), default=365, show_default=True, help="How long it is valid.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="keys", show_default=True,
              help="Folder of keys; setting security.keys.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace the certificate and key that are there.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tls(hosts: tuple[str, ...], days: int, folder: Path, force: bool, as_json: bool) -> None:
    """Make a self-signed certificate for HTTPS: tls.crt, and tls.key that only you can read.

    Give tls.crt to the clients: they trust it and nothing else. Restart what serves, to use a new one.

    \b
    Example:
      edge keys tls --host edge.beamline.example --host 10.1.2.3
    """
    from edge.http.certificate import CertificateError, self_signed, write_pair  # only here is `cryptography` needed

    paths = folder / CERTIFICATE, folder / KEY
    for path in paths:
        if path.exists() and not force:
            raise click.ClickException(f"{path} is there already; --force replaces it")
    try:
        pair = self_signed(hosts, datetime.now(UTC), timedelta(days=days))
        write_pair(pair, *paths)
    except CertificateError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(
            f"cannot write into {folder}: {error.strerror}; name another with --folder"
        ) from error
    until = pair.expires.isoformat(timespec="seconds")
    if as_json:
        facts = {"certificate": str(paths[0]), "key": str(paths[1]), "sha256": pair.sha256, "expires": until}
        click.echo(json.dumps(facts))
        return
    click.echo(
        f"{paths[0]} for {', '.join(hosts)}, valid until {until}; SHA-256 {pair.sha256}\n{paths[1]}: keep it here"
    )
