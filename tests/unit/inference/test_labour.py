"""A model that computes is told from one that hangs."""

import os
import queue
from dataclasses import replace
from pathlib import Path

import pytest

from edge.inference import supervisor
from edge.inference.events import Event, ServerLost, ServerReady
from edge.inference.labour import Labour, processor_s
from edge.inference.supervisor import Supervisor
from tests.unit.inference.test_health import Spoilt, host, models, next_of, plan

__all__ = ["host", "models", "plan"]  # fixtures
TICKS = os.sysconf("SC_CLK_TCK")


def process(proc: Path, pid: int, parent: int, ticks: tuple[int, int], *arguments: str) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    fields = ["R", str(parent), *("0" for _ in range(9)), *map(str, ticks), "0"]
    (folder / "stat").write_text(f"{pid} (triton (py) stub) {' '.join(fields)}\n")
    (folder / "cmdline").write_bytes(b"\0".join(one.encode() for one in arguments) + b"\0")


def test_the_process_of_a_model_is_found_by_its_parent_and_its_file(tmp_path: Path) -> None:
    process(tmp_path, 5, 4, (2 * TICKS, TICKS), "/b/stub", "/r/peaks_u16/1/model.py", "shm")
    process(tmp_path, 6, 4, (7 * TICKS, 0), "/b/stub", "/r/peaks_u8/1/model.py", "shm")
    process(tmp_path, 7, 3, (9 * TICKS, 0), "/b/stub", "/r/peaks_u16/1/model.py", "another server's")
    (tmp_path / "self").mkdir()
    (tmp_path / "8").mkdir()  # has just ended
    assert processor_s(4, "peaks_u16", tmp_path) == pytest.approx(3.0)
    assert processor_s(4, "peaks_u8", tmp_path) == pytest.approx(7.0)
    assert processor_s(4, "peaks", tmp_path) is None
    assert processor_s(9, "peaks_u16", tmp_path) is None


def test_at_work_is_who_used_the_processor_in_the_last_second() -> None:
    used = {"busy": 0.0, "starved": 0.0, "hung": 3.0}
    labour = Labour(lambda model: used.get(model))
    said = []
    for second in range(4):
        said.append([labour.at_work(model, 100.0 + 1.1 * second) for model in ("busy", "starved", "hung", "remote")])
        used["busy"] += 1.0
        used["starved"] += 0.03
    assert said == [[False] * 4] + 3 * [[True, True, False, False]]


def test_it_looks_once_a_second_however_often_it_is_asked() -> None:
    looked = []
    labour = Labour(lambda model: looked.append(model) or 0.0)
    for at in range(300):
        labour.at_work("peaks", 10.0 + at / 100)
    assert len(looked) == 3


def test_a_model_that_went_away_is_not_at_work_and_a_new_one_starts_anew() -> None:
    answers = iter([1.0, 2.0, None, 50.0, 51.0])
    labour = Labour(lambda model: next(answers))
    assert [labour.at_work("peaks", 1.1 * at) for at in range(5)] == [False, True, False, False, True]


@pytest.mark.parametrize("busy", [True, False])
def test_a_canary_behind_a_large_batch_is_waited_for(host, plan, busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "Labour", lambda measure: Always(busy))
    patient = replace(plan, timing=replace(plan.timing, client_timeout_s=3600.0))
    events: queue.Queue[Event] = queue.Queue()
    with Supervisor(patient, events.put):
        next_of(events, ServerReady)
        assert isinstance(host.server, Spoilt)
        host.server.how = "silent"
        if busy:
            with pytest.raises(queue.Empty):
                events.get(timeout=5 * plan.timing.canary_deadline_s)
        else:
            assert "did not answer" in next_of(events, ServerLost).reason


class Always:
    """Says of every model that it is at work, or not."""

    def __init__(self, busy: bool) -> None:
        self._busy = busy

    def at_work(self, model: str, now_s: float) -> bool:
        return self._busy
