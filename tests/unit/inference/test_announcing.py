"""What `edge triton` does with its file when that cannot be written."""

import errno
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge.commands.triton import _Announcer
from edge.inference import announcement
from edge.inference.announcement import Announcement
from edge.inference.events import ServerLost


class Telling:
    def __init__(self) -> None:
        self.told: list[str] = []

    def status(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OSError]]:
    """While there is an error in the list the disk refuses."""
    errors = [OSError(errno.ENOSPC, "No space left on device")]
    write = announcement.write

    def refusing(path: Path, made: Announcement) -> None:
        if errors:
            raise errors[0]
        write(path, made)

    monkeypatch.setattr(announcement, "write", refusing)
    yield errors


def test_a_file_that_cannot_be_written_is_tried_again_and_told_of_once(
    tmp_path: Path, full: list[OSError], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    telling: Any = Telling()
    supervisor: Any = SimpleNamespace(host=None)
    announcer = _Announcer(tmp_path / "triton.json", supervisor, telling)
    announcer._due = made = Announcement("127.0.0.1:4711", "secret", 12, "edge-1-t1", 3, 1.5)
    assert not any(announcer.announced() for _ in range(10))
    assert len(caplog.records) == len(telling.told) == 1 and "No space left" in telling.told[0]
    refusal = full.pop()
    assert announcer.announced() and announcement.read(tmp_path / "triton.json") == made
    (tmp_path / "triton.json").unlink()  # by somebody else
    assert announcer.announced() and announcement.read(tmp_path / "triton.json") == made
    announcer.take(ServerLost(3, "it died", True))
    announcer._due = made
    full.append(refusal)
    assert not announcer.announced() and len(caplog.records) == 2, "it is another time"
