"""Makes and takes back keys: what `edge keys` does. Files that exist are never overwritten."""

import os
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zmq.auth.certs import create_certificates

from streams.sockets.errors import KeysError
from streams.sockets.keys import CLIENT, CLIENTS, PUBLIC, SECRET, SERVICE, Keys, allowed, read_keys

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def make_service(folder: Path) -> Path:
    """Make the keys of a service in `folder`, and room for its clients; its public file.

    Raises:
        KeysError: there are some, or the folder cannot be written.
    """
    _refuse_existing(folder, [f"{SERVICE}{PUBLIC}", f"{SERVICE}{SECRET}"])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / CLIENTS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}; choose another --folder") from error
    _make(SERVICE, {SECRET: folder / f"{SERVICE}{SECRET}", PUBLIC: folder / f"{SERVICE}{PUBLIC}"})
    return folder / f"{SERVICE}{PUBLIC}"


def make_client(folder: Path, name: str, output: Path) -> Path:
    """Make keys for a client in `output`, and let it connect to the service of `folder`; what says so.

    Raises:
        KeysError: the name cannot be one or is taken, keys are there already, or a folder cannot be written.
    """
    allows = _of_client(folder, name)
    if allows.exists():
        raise KeysError(f"{name} has keys already ({allows}); `edge keys revoke {name}` takes them back")
    _refuse_existing(output, [f"{SERVICE}{PUBLIC}", f"{CLIENT}{PUBLIC}", f"{CLIENT}{SECRET}"])
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / CLIENTS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise KeysError(f"{error.filename}: {error.strerror}; choose another --output") from error
    _put(output / f"{SERVICE}{PUBLIC}", (folder / f"{SERVICE}{PUBLIC}").read_bytes(), 0o644)
    _make(CLIENT, {SECRET: output / f"{CLIENT}{SECRET}", PUBLIC: output / f"{CLIENT}{PUBLIC}"})
    _put(allows, (output / f"{CLIENT}{PUBLIC}").read_bytes(), 0o644)  # last: only a client that is complete may connect
    return allows


def clients(folder: Path) -> dict[str, str]:
    """The names of those that may connect to the service of `folder`, with their public keys. Raises KeysError."""
    keys = _service(folder)
    return {name: key.decode() for key, name in allowed(keys, strict=True).items() if key != keys.public}


def revoke(folder: Path, name: str) -> Path:
    """Let a client no longer connect; the file that is gone.

    Raises:
        KeysError: there is no such client.
    """
    allows = _of_client(folder, name)
    try:
        allows.unlink()
    except FileNotFoundError:
        known = ", ".join(sorted(clients(folder))) or "none"
        raise KeysError(f"{folder} has no client {name}; it has {known}") from None
    except OSError as error:
        raise KeysError(f"{allows}: {error.strerror}; run as the user whose keys they are") from error
    return allows


def _of_client(folder: Path, name: str) -> Path:
    if not NAME.fullmatch(name):
        raise KeysError(f"{name!r} is no name; use letters, digits, '.', '_' and '-', 64 at most")
    _service(folder)
    return folder / CLIENTS / f"{name}{PUBLIC}"


def _service(folder: Path) -> Keys:
    keys = read_keys(folder)
    if not keys.serves:
        raise KeysError(f"{folder} holds a client's keys; name the folder of the service by --folder")
    return keys


def _refuse_existing(folder: Path, names: Sequence[str]) -> None:
    for name in names:
        if (folder / name).exists():
            raise KeysError(f"{folder / name} exists and is not overwritten; name another folder, or move it away")


def _make(name: str, places: dict[str, Path]) -> None:
    """A new pair of keys; nobody else can read the secret one at any time."""
    with tempfile.TemporaryDirectory() as private:  # of mode 0700
        create_certificates(private, name)
        for suffix, place in places.items():
            _put(place, (Path(private) / f"{name}{suffix}").read_bytes(), 0o600 if suffix == SECRET else 0o644)


def _put(path: Path, content: bytes, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise KeysError(f"{path} exists and is not overwritten; name another folder, or move it away") from None
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}; choose another folder") from error
    with open(fd, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
