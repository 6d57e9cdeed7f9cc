"""`tokens.json`: read again when it changes, written whole, for its owner alone."""

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from edge.http.privatefile import write_private
from edge.http.tokens import MAX_TOKENS, Token, TokenError

log = logging.getLogger(__name__)

FILE = "tokens.json"
MAX_BYTES = 512 * MAX_TOKENS
OTHERS_WRITE = 0o022


class TokenFile:
    """The tokens in force. One that is added or revoked counts from the next request on; no restart is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._tokens: tuple[Token, ...] = ()

    def current(self) -> tuple[Token, ...]:
        """From any thread. A file that cannot be read lets nobody in, and that is logged once."""
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size)  # ctime: of `chmod`, too
        except OSError:
            seen = ()
        if seen != self._seen:
            try:
                self._tokens = read_tokens(self._path)
            except TokenError as error:
                log.error("%s; until then nobody gets in", error)
                self._tokens = ()
            self._seen = seen
        return self._tokens


def read_tokens(path: Path) -> tuple[Token, ...]:
    """All tokens of the file.

    Raises:
        TokenError: it cannot be read, is no such file, or others may write it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TokenError(
            f"cannot read {path}: {error.strerror}; `edge keys token NAME` makes the first token"
        ) from error
    if mode & OTHERS_WRITE:
        raise TokenError(f"{path} can be written by others, who could let themselves in; `chmod 600 {path}`")
    try:
        if len(content) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES} bytes")
        return msgspec.json.decode(content, type=tuple[Token, ...])
    except (ValueError, RecursionError) as error:
        raise TokenError(f"{path} is no list of tokens ({error}); remove it and make the tokens anew") from error


def write_tokens(path: Path, tokens: Sequence[Token]) -> None:
    """Replace the file.

    Raises:
        TokenError: it cannot be written.
    """
    try:
        write_private(path, msgspec.json.format(msgspec.json.encode(tuple(tokens))) + b"\n")
    except OSError as error:
        raise TokenError(f"cannot write {path}: {error.strerror}; is the folder yours?") from error


@contextmanager
def changing(folder: Path) -> Iterator[Path]:
    """The token file of a folder of keys, for one process at a time; the folder is made where there is none.

    Raises:
        TokenError: the folder cannot be used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise TokenError(f"cannot use the folder {folder}: {error.strerror}; name another with --folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield folder / FILE
    finally:
        os.close(handle)
