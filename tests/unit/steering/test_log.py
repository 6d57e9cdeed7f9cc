"""A log is as long as its last whole record, whatever happened to it."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.agent import past
from edge.agent.hyperparameters import Hyperparameters
from edge.steering import log as module
from edge.steering.log import (
    MAGIC,
    Abandoned,
    ExperimentLog,
    LogError,
    LogFull,
    Observed,
    Suggested,
    learned,
    past_of,
    read,
)
from edge.steering.words import observation_words, suggestion_words
from tests.unit.steering.scenes import DEFINITION, observation

LEARNED = past.Learned(2, 5, Hyperparameters(0.5, 2.0, (0.1, 0.3), 1e-3), (4, 0, 99))


SUGGESTIONS = DEFINITION.agent("map").suggest(3)
ENTRIES = [
    Suggested("run/1", tuple(map(suggestion_words, SUGGESTIONS[:2]))),
    Observed((observation_words(observation(1, SUGGESTIONS[0])), observation_words(observation(2)))),
    learned(LEARNED),
    Suggested("run/2", ()),
    Abandoned((SUGGESTIONS[1].id,)),
]


def known(found) -> list[str]:
    """NaN is not equal to itself."""
    return [repr(one) for one in found]


def written(path) -> list[int]:
    """A log of `entries`; where each of its records ends."""
    log = ExperimentLog(path, "map", DEFINITION)
    ends = [path.stat().st_size]
    for entry in ENTRIES:
        log.append(entry)
        ends.append(path.stat().st_size)
    log.close()
    return ends


def test_what_was_appended_is_there_again(tmp_path):
    written(tmp_path / "map.agentlog")
    log = ExperimentLog(tmp_path / "map.agentlog", "map", DEFINITION)
    assert known(log.entries) == known(ENTRIES)
    assert log.definition == DEFINITION
    begun, found = read(tmp_path / "map.agentlog")
    assert begun is not None and begun.experiment == "map"
    assert known(found) == known(ENTRIES)
    log.close()


def test_the_past_of_a_log_is_what_an_agent_needs():
    found = list(past_of(ENTRIES))
    assert [type(one).__name__ for one in found] == [
        *("Suggestion", "Suggestion", "Observation", "Observation", "Learned", "Abandoned"),
    ]
    assert found[4] == LEARNED
    assert found[5] == past.Abandoned(("map-2",))


def test_a_record_that_was_cut_short_is_dropped_and_the_log_goes_on(tmp_path):
    whole = tmp_path / "whole"
    ends = written(whole)
    content = whole.read_bytes()
    for length in range(0, len(content), 7):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(content[:length])
        log = ExperimentLog(path, "map", DEFINITION)
        survivors = sum(end <= length for end in ends[1:])
        assert known(log.entries) == known(ENTRIES[:survivors])
        assert path.stat().st_size == ends[survivors], "nothing of it is left"
        log.append(ENTRIES[0])
        log.close()
        assert known(read(path)[1]) == known([*ENTRIES[:survivors], ENTRIES[0]])
        path.unlink()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_costs_the_record_that_it_is_in_and_no_other(tmp_path, data):
    path = tmp_path / "map.agentlog"
    path.unlink(missing_ok=True)
    ends = written(path)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    if at < ends[0]:
        with pytest.raises(LogError, match="move it away"):
            ExperimentLog(path, "map", DEFINITION)
        assert path.read_bytes() == content, "it is left as it was"
        return
    log = ExperimentLog(path, "map", DEFINITION)
    hit = next(number for number, end in enumerate(ends[1:]) if at < end)
    assert known(log.entries) == known(ENTRIES[:hit] + ENTRIES[hit + 1 :])
    log.close()


def test_a_record_at_another_place_is_none(tmp_path):
    ends = written(tmp_path / "map")
    content = (tmp_path / "map").read_bytes()
    (tmp_path / "map").write_bytes(content + content[ends[0] : ends[1]])  # a sector that was written elsewhere
    assert known(read(tmp_path / "map")[1]) == known(ENTRIES)


def test_one_process_writes_it(tmp_path):
    log = ExperimentLog(tmp_path / "map", "map", DEFINITION)
    with pytest.raises(LogError, match="another process"):
        ExperimentLog(tmp_path / "map", "map", DEFINITION)
    log.close()
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.append(Abandoned(("map-1",)))


@pytest.mark.parametrize("content", [b"something else entirely", MAGIC[:4] + b"XXXX" + bytes(99)])
def test_another_file_is_left_alone(tmp_path, content):
    (tmp_path / "map").write_bytes(content)
    with pytest.raises(LogError, match="move it away"):
        ExperimentLog(tmp_path / "map", "map", DEFINITION)
    assert (tmp_path / "map").read_bytes() == content


def test_a_log_under_another_name_is_refused(tmp_path):
    written(tmp_path / "map")
    with pytest.raises(LogError, match="log of 'map'"):
        ExperimentLog(tmp_path / "map", "other", DEFINITION)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        ExperimentLog(tmp_path / "link", "map", DEFINITION)
    assert not (tmp_path / "elsewhere").exists()


def test_a_disk_that_refuses_leaves_the_log_as_it_was(tmp_path, monkeypatch):
    log = ExperimentLog(tmp_path / "map", "map", DEFINITION)
    log.append(ENTRIES[0])
    before = (tmp_path / "map").read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdatasync", full)
    with pytest.raises(OSError, match="No space"):
        log.append(ENTRIES[1])
    assert (tmp_path / "map").read_bytes() == before
    monkeypatch.undo()
    log.append(ENTRIES[2])
    log.close()
    assert known(read(tmp_path / "map")[1]) == known([ENTRIES[0], ENTRIES[2]])


def test_a_log_has_a_size_that_it_does_not_outgrow(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    log = ExperimentLog(tmp_path / "map", "map", DEFINITION)
    with pytest.raises(LogFull, match="begin another experiment"):
        for _ in range(100):
            log.append(ENTRIES[0])
    assert (tmp_path / "map").stat().st_size < 3000
    log.close()
