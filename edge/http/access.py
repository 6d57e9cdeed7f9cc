"""What a server of HTTP asks of its clients, and where it must ask."""

from dataclasses import dataclass
from pathlib import Path

from edge.http.tokenfile import FILE, read_tokens
from edge.http.tokens import TokenError
from streams.sockets import SocketError, beyond_loopback

CERTIFICATE, KEY = "tls.crt", "tls.key"


@dataclass(frozen=True)
class Access:
    """TLS with this certificate and key (PEM), and a token of this file; each only where it is given."""

    tls_certificate: Path | None = None
    tls_key: Path | None = None
    tokens: Path | None = None


PLAIN = Access()
"""Whoever reaches the port is answered: on the loopback address, or where somebody decided so."""


def access_for(
    host: str, setting: str, keys: str = "", tls_certificate: str = "", tls_key: str = "", plain: bool = False
) -> Access:
    """What a server on `host` asks for: nothing on the loopback address, even where tokens exist, or where `plain` says
    so; else TLS and a token. `keys` and the others are the settings of `[security]`; an empty certificate or key is
    `tls.crt` or `tls.key` in `keys`. `setting` names the address in errors.

    Raises:
        SocketError: the address is beyond loopback, and certificate, key or tokens are missing.
    """
    if plain or not beyond_loopback(f"tcp://{host}:0"):
        return PLAIN
    beyond = f"{setting}: {host} can be reached from other machines, and HTTP there needs TLS and tokens"
    if not keys:
        raise SocketError(
            f"{beyond}; name the folder of keys (security.keys, or --keys) and run `edge keys tls` and "
            "`edge keys token NAME`, or use 127.0.0.1"
        )
    folder = Path(keys)
    access = Access(
        Path(tls_certificate) if tls_certificate else folder / CERTIFICATE,
        Path(tls_key) if tls_key else folder / KEY,
        folder / FILE,
    )
    _check(access, beyond, folder)
    return access


def _check(access: Access, beyond: str, folder: Path) -> None:
    for file in (access.tls_certificate, access.tls_key):
        if file is not None and not file.is_file():
            raise SocketError(
                f"{beyond}: there is no {file}; make it with: edge keys tls --folder {folder} --host NAME"
            )
    if access.tokens is None:
        return
    try:
        tokens = read_tokens(access.tokens)
    except TokenError as error:
        raise SocketError(f"{beyond}: {error}") from error
    if not tokens:
        raise SocketError(
            f"{beyond}: no token in {access.tokens}; make one with: edge keys token NAME --folder {folder}"
        )
