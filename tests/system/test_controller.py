"""Whoever triggers the detector tells how many images it was, and asks what became of them, over real sockets."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from streams.controller import Controller
from streams.sockets import context
from streams.subscriber import NoAnswer
from tests.system.loopbench import LoopBench, loop_bench, series


def ask(bench: LoopBench, call: str, *args: Any) -> Any:
    """Ask from a thread of its own: the bench lets the server answer meanwhile."""

    def run() -> Any:
        with Controller(bench.ctx, bench.handshake) as controller:
            return getattr(controller, call)(*args)

    with ThreadPoolExecutor(1) as executor:
        answer: Future[Any] = executor.submit(run)
        bench.until(answer.done, "the answer")
        return answer.result()


def test_a_series_that_was_armed_for_more_is_complete_once_its_controller_has_spoken():
    with loop_bench() as bench:
        bench.ready()
        taken = series("stream-v2", 100)
        start, *images, end = taken.messages
        bench.send([start, *images[:7]])
        bench.until(lambda: len(bench.values()) == 7, "seven results")
        now = ask(bench, "account", "det-0", 1, "sum")
        assert now.open and now.arrivals["awaited"] == 93 and now.account["published"] == 7
        assert ask(bench, "triggered", "det-0", 1, 6) is False  # more are there already
        assert ask(bench, "triggered", "det-0", 1, 7) is True
        bench.send([end])
        ended = bench.end_of()
        assert (ended.verdict, ended.reason, ended.arrivals["expected"]) == ("complete", "end", 7)
        now = ask(bench, "account", "det-0", 1, "sum")
        assert not now.open and now.verdict == "complete"
        bench.nothing_is_left()


def test_without_its_word_the_announced_number_is_expected():
    with loop_bench() as bench:
        bench.ready()
        start, *images, _ = series("stream-v2", 100).messages
        bench.send([start, *images[:7]])
        bench.until(lambda: len(bench.values()) == 7, "seven results")
        bench.stop()
        assert bench.end_of().verdict == "incomplete"
        assert bench.end_of().missing == {"image": [(7, 100)]}


def test_unknown_series_and_routes_are_said_to_be_unknown():
    with loop_bench() as bench:
        bench.ready()
        assert ask(bench, "triggered", "det-0", 1, 6) is False
        assert ask(bench, "account", "det-0", 1, "sum") is None
        assert ask(bench, "account", "nobody", 1, "sum") is None
        bench.nothing_is_left()


def test_nobody_there_is_told_with_the_address():
    problem = pytest.raises(NoAnswer, match=r"tcp://127\.0\.0\.1:1 .*edge serve")
    with context() as ctx, Controller(ctx, "tcp://127.0.0.1:1", timeout_s=0.05) as controller, problem:
        controller.triggered("det-0", 1, 1)
