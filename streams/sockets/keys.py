"""The keys of a site on disk: who we are, and who may connect.

The service's folder has `server.key`, `server.key_secret` and `clients/NAME.key`; that of a client has `server.key`,
`client.key` and `client.key_secret`. All are certificates as `zmq.auth` writes them; keys are Z85 text (ZeroMQ RFC 32).
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.auth.certs import load_certificate
from zmq.utils import z85

from streams.sockets.errors import KeysError

SERVICE, CLIENT = "server", "client"
CLIENTS = "clients"
PUBLIC, SECRET = ".key", ".key_secret"

MAX_CERTIFICATE_BYTES = 64 * 1024
"""A certificate has some 400 bytes; a longer file is something else."""


@dataclass(frozen=True)
class Keys:
    """One identity, and the service it belongs to. The secret is in no representation."""

    folder: Path
    public: bytes
    secret: bytes = field(repr=False)
    server: bytes  # the service's public key: whom we expect where we connect
    serves: bool  # whether it is the service's own identity


def keys_of(folder: str | Path | None) -> Keys | None:
    """The keys in `folder`, which a setting or an option names; None where it names none. Raises KeysError."""
    return read_keys(folder) if folder else None


def read_keys(folder: str | Path) -> Keys:
    """The keys of the service or of a client, whichever `folder` is.

    Raises:
        KeysError: there are none, they are damaged, or others than their owner can get at them.
    """
    folder = Path(folder)
    name = next((name for name in (SERVICE, CLIENT) if (folder / f"{name}{SECRET}").exists()), None)
    if name is None:
        raise KeysError(
            f"{folder} holds no keys; `edge keys new --folder {folder}` makes those of a service, and "
            f"`edge keys client NAME --output {folder}` those of a client"
        )
    path = folder / f"{name}{SECRET}"
    _check_private(path)
    public, secret = _load(path)
    if secret is None or zmq.curve_public(secret) != public:
        raise KeysError(f"{path}: the secret key is not that of the public one; make new keys with `edge keys`")
    keys = Keys(folder, public, secret, _load(folder / f"{SERVICE}{PUBLIC}")[0], name == SERVICE)
    if keys.serves and keys.server != public:
        raise KeysError(f"{folder}: {SERVICE}{PUBLIC} and {SERVICE}{SECRET} are of different keys; restore the former")
    if keys.serves:
        allowed(keys, strict=True)
    return keys


def allowed(keys: Keys, strict: bool = False) -> Mapping[bytes, str]:
    """The public keys that may connect, with the names of their owners; the service itself is one.

    Args:
        strict: raise where a file is damaged; else it lets nobody in, and the others count.

    Raises:
        KeysError: the folder of clients cannot be read, or others may write into it.
    """
    folder = keys.folder / CLIENTS
    try:
        _check_writers(keys.folder)  # or `clients` in it could be replaced
        _check_writers(folder)
        files = sorted(folder.glob(f"*{PUBLIC}"))
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}; make it readable to whom the service runs as") from error
    found = {}
    for path in files:
        try:
            found[_load(path)[0]] = path.stem
        except KeysError:
            if strict:
                raise
    return found | {keys.public: SERVICE}


def _load(path: Path) -> tuple[bytes, bytes | None]:
    try:
        if path.stat().st_size > MAX_CERTIFICATE_BYTES:
            raise ValueError
        public, secret = load_certificate(path)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror or 'cannot be read'}; restore it or make new keys") from error
    except (ValueError, IndexError) as error:
        raise KeysError(f"{path} is no ZeroMQ certificate; restore it or make new keys with `edge keys`") from error
    if not all(key is None or _is_key(key) for key in (public, secret)):
        raise KeysError(f"{path}: its key is damaged; restore it or make new keys with `edge keys`")
    return public, secret


def _is_key(key: bytes) -> bool:
    return len(key) == 40 and all(byte in z85.Z85CHARS for byte in key)


def _check_private(path: Path) -> None:
    try:
        found = path.stat()
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; run as the user whose key it is") from error
    if found.st_uid != os.geteuid():
        raise KeysError(f"{path} belongs to another user; run as that one, or `chown {os.geteuid()} {path}`")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeysError(f"{path} can be read by others; `chmod 600 {path}`, and make new keys if anybody has read it")


def _check_writers(folder: Path) -> None:
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()):
        raise KeysError(f"{folder} is another user's, who could let himself in; `chown {os.geteuid()} {folder}`")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise KeysError(f"{folder} can be written by others, who could let themselves in; `chmod 700 {folder}`")
