"""The threads in which requests wait for their answers."""

import queue
import threading

from edge.inference import callers
from edge.inference.callers import Callers

PATIENCE_S = 30.0


def test_calls_wait_beside_one_another_and_each_is_made_once():
    made, gate, waiting = queue.SimpleQueue[int](), threading.Event(), threading.Barrier(4)

    def call(number: int) -> None:
        waiting.wait(PATIENCE_S)  # all of them, and the test, are here at once
        gate.wait(PATIENCE_S)
        made.put(number)

    pool = Callers()
    for number in range(3):
        assert pool.put(lambda number=number: call(number))
    waiting.wait(PATIENCE_S)
    gate.set()
    assert sorted(made.get(timeout=PATIENCE_S) for _ in range(3)) == [0, 1, 2]
    pool.close()


def test_there_are_no_more_threads_than_calls_at_a_time_or_than_allowed(monkeypatch):
    monkeypatch.setattr(callers, "MOST", 2)
    names, gate = queue.SimpleQueue[str](), threading.Event()

    def call() -> None:
        gate.wait(PATIENCE_S)
        names.put(threading.current_thread().name)

    pool = Callers("asking")
    for _ in range(9):
        pool.put(call)
    gate.set()
    assert {names.get(timeout=PATIENCE_S) for _ in range(9)} <= {"asking-1", "asking-2"}
    pool.close()


def test_what_was_put_before_the_end_is_done_and_nothing_is_taken_after_it():
    done, gate = queue.SimpleQueue[str](), threading.Event()
    pool = Callers()
    pool.put(lambda: (gate.wait(PATIENCE_S), done.put("first"))[1])
    pool.put(lambda: done.put(threading.current_thread().name))
    pool.close()
    assert not pool.put(lambda: done.put("late"))
    gate.set()
    assert {done.get(timeout=PATIENCE_S) for _ in range(2)} >= {"first"}
    pool.close()
    assert done.empty()
