"""TLS of a server, from the standard library: 1.2 or newer, with the ciphers that Python takes for safe."""

import ssl
import stat
from pathlib import Path

from streams.sockets import SocketError


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What connections are wrapped with.

    Raises:
        SocketError: the files cannot be read, do not belong together, or the key is everybody's to read.
    """
    if _mode(key) & stat.S_IRWXO:
        raise SocketError(f"{key} is open to everybody on this machine; `chmod o= {key}`, and make a new pair")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # which costs the server more than the client
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_refuse_to_ask)
    except ssl.SSLError as error:  # an OSError too: it stands first
        raise SocketError(
            f"{certificate} and {key} are no certificate and key in PEM format that belong together "
            f"({error.reason or error}); `edge keys tls --host NAME` makes a pair"
        ) from error
    except (OSError, ValueError) as error:
        raise SocketError(f"cannot use {certificate} and {key}: {error}") from error
    return context


def _mode(key: Path) -> int:
    """0 where it is not there: loading it says so."""
    try:
        return key.stat().st_mode
    except OSError:
        return 0


def _refuse_to_ask() -> str:
    """Without this a process would ask its terminal."""
    raise ValueError("the key is encrypted, and nobody is there to type its password; store it without, mode 0600")
