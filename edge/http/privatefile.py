"""Files with secrets: there whole or not at all, and never readable by others, not for a moment."""

import os
from contextlib import suppress
from pathlib import Path

OWNER_ALONE = 0o600


def write_private(path: Path, content: bytes, mode: int = OWNER_ALONE) -> None:
    """Replace `path` in one step.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise
