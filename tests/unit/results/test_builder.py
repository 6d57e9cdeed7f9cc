"""Logs whose file cannot be built now are tried again, without anybody asking."""

import logging
import threading
from pathlib import Path

import pytest

from edge.results.builder import FIRST_AGAIN_S, LONGEST_AGAIN_S, Builder

FULL = {"error": "No space left on device"}
BUILT = {"file": "s.h5", "verdict": "complete", "stored": "1"}


@pytest.fixture
def builder(monkeypatch):
    """One whose worker answers from a list; its thread is not started."""
    made = Builder()
    made.answers = []
    monkeypatch.setattr(made, "_ask", lambda path: made.answers.pop(0))
    return made


def build(builder, path, *answers) -> None:
    for answer in answers:
        builder.answers.append(answer)
        builder._build(path)


def test_a_log_is_tried_again_until_there_is_room_and_told_of_once(builder, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "s.log"
    path.touch()
    assert builder._due_s() is None
    build(builder, path, FULL)
    assert 0 < builder._due_s() <= FIRST_AGAIN_S
    build(builder, path, FULL, BUILT)
    assert builder._due_s() is None
    said = [record.getMessage() for record in caplog.records]
    assert ["No space left" in text for text in said] == [True, False]
    assert said[1].startswith("s.h5: complete")


def test_each_time_after_a_longer_pause_up_to_a_longest(builder, tmp_path):
    path = tmp_path / "s.log"
    path.touch()
    pauses = []
    for _ in range(20):
        build(builder, path, FULL)
        pauses.append(builder._again[path].wait_s)
    assert pauses[:3] == [FIRST_AGAIN_S, 2 * FIRST_AGAIN_S, 4 * FIRST_AGAIN_S]
    assert pauses[-1] == LONGEST_AGAIN_S


def test_a_log_that_is_gone_is_not_tried_again(builder, tmp_path):
    build(builder, tmp_path / "gone.log", FULL)
    assert builder._due_s() is None


def test_the_next_log_does_not_wait_for_one_that_failed(builder, tmp_path):
    first, second = tmp_path / "1.log", tmp_path / "2.log"
    first.touch()
    build(builder, first, FULL)
    build(builder, second, BUILT)
    assert list(builder._again) == [first]


def test_the_end_does_not_wait_for_a_child_that_the_kernel_holds(monkeypatch, caplog):
    class Held:
        kills = 0

        def kill(self) -> None:
            self.kills += 1

    monkeypatch.setattr("edge.results.builder.KILLED_S", 0.02)
    monkeypatch.setattr("edge.results.builder.RETRY_S", 0.001)
    made, release = Builder(), threading.Event()
    made._child = held = Held()  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setattr(made, "_build", lambda path: release.wait())
    made.start()
    made.put(Path("s.log"))
    made.close(0.0)
    assert held.kills and "a disk does not answer" in caplog.text
    monkeypatch.setattr(made, "_stop", lambda: None)
    release.set()
    made._thread.join(30)
