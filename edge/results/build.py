"""From a log to a file: written beside it, read back and compared, then moved into place."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

import h5py

from edge.results.errors import ResultFileError
from edge.results.logfile import sync
from edge.results.nexus import compare, write
from edge.results.survey import Survey, survey
from edge.results.verdict import file_verdict

STALE_S = 3600.0


@dataclass(frozen=True)
class Built:
    """A file that is in place."""

    file: Path
    verdict: str  # "complete", "incomplete", "unknown"
    stored: int  # results in it
    log_bytes: int  # of the log that went into it


def build(log: Path) -> Built:
    """Build `NAME.h5` of `NAME.log`, in place of an earlier one; the log is not touched.

    Another reader sees the earlier file or the new one, whole; never a part. Memory: a few MiB beside one record.

    Raises:
        ResultFileError: the log cannot be read, or the file not be written.
    """
    file = log.with_suffix(".h5")
    if file == log:
        raise ResultFileError(f"{log} is a result file already; name its log, {log.with_suffix('.log').name}")
    part = log.with_name(f".{file.name}.{os.getpid()}.part")
    found = survey(log)
    try:
        _remove_stale(log.parent, f".{file.name}.*.part")
        _write_whole(part, found, file.name)
        os.replace(part, file)
        sync(log.parent)
    except (OSError, RuntimeError) as error:  # h5py raises either
        part.unlink(missing_ok=True)
        raise ResultFileError(
            f"cannot build {file}: {error}; see that its folder has room and can be written, then build it again"
        ) from error
    stored = sum(channel.stored for channel in found.channels.values())
    return Built(file, file_verdict(found), stored, found.size)


def _write_whole(part: Path, found: Survey, name: str) -> None:
    with h5py.File(part, "w") as into:
        write(into, found, name)
    with h5py.File(part, "r") as back:
        compare(back, found)
    sync(part)


def _remove_stale(folder: Path, pattern: str) -> None:
    """Remove what killed builders left; one that is at work has touched its file since."""
    for part in folder.glob(pattern):
        if time.time() - part.stat().st_mtime > STALE_S:
            part.unlink(missing_ok=True)


def remove_log(log: Path, size: int) -> bool:
    """Remove a log of which a complete file was built; whether that was done.

    It stays where it has grown since, or where a process has it open for writing.
    """
    try:
        with log.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.seek(0, os.SEEK_END) != size:
                return False
            log.unlink()
    except OSError:
        return False
    return True
