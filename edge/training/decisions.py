"""The log of what was decided about versions: one JSON object a line, only ever appended, on disk before it counts."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from edge.training.arriving import FileFacts
from edge.training.deciding import Gain

Kind: TypeAlias = Literal["deploying", "deployed", "kept", "rolling_back", "rolled_back", "confirmed", "refused"]
"""What is being done is said before a version is touched, so that one whose end was not told is recognised."""

ENDS: dict[Kind, Kind] = {"deploying": "deployed", "rolling_back": "rolled_back"}

FINAL: tuple[Kind, ...] = ("deployed", "kept", "refused")
"""After one of these a scan has been dealt with."""


class Decision(msgspec.Struct, frozen=True):
    """One line."""

    what: Kind
    model: str
    scan: FileFacts
    base: int | None = None  # the version that served before
    version: int | None = None  # the other one
    why: str = ""
    gain: Gain | None = None  # from `base` to the other one; of a check from the one before to the one that serves
    trained: int = 0  # frames
    seconds: float = 0.0  # that it took
    time: str = ""  # ISO 8601, UTC


class DecisionLog:
    """The log in `path`, made where there is none. Raises OSError where it cannot be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.decisions = _read(path)

    def append(self, decision: Decision) -> Decision:
        """Write a line, dated now."""
        told = msgspec.structs.replace(decision, time=datetime.now(UTC).isoformat(timespec="seconds"))
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            begin = b"" if _ends_whole(self._path) else b"\n"  # a line that was cut off stays alone
            os.write(fd, begin + msgspec.json.encode(told) + b"\n")
            os.fsync(fd)
        finally:
            os.close(fd)
        self.decisions.append(told)
        return told

    def done(self) -> list[FileFacts]:
        """The scans that were dealt with."""
        return [one.scan for one in self.decisions if one.what in FINAL]

    def predecessor(self, version: int) -> int | None:
        """The version that a deployed one took the place of."""
        bases = [one.base for one in self.decisions if one.what == "deployed" and one.version == version]
        return bases[-1] if bases else None

    def checks(self, base: int, version: int) -> int:
        """How often a version was found not to be worse than the one before it."""
        return sum((one.what, one.base, one.version) == ("confirmed", base, version) for one in self.decisions)

    def cut_short(self) -> Decision | None:
        """The deployment or roll back whose end was not told, if the last one was cut short."""
        begun = [one for one in self.decisions if one.what in (*ENDS, *ENDS.values())]
        return begun[-1] if begun and begun[-1].what in ENDS else None


def _read(path: Path) -> list[Decision]:
    """Lines that were cut off or damaged are passed over: what a cut one was about to say had not been done."""
    found: list[Decision] = []
    if path.exists():
        for line in path.read_bytes().splitlines():
            try:
                found.append(msgspec.json.decode(line, type=Decision))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
    return found


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return True
        file.seek(size - 1)
        return file.read(1) == b"\n"
