"""How a service process is asked to stop, by several at once."""

import os
import signal

import pytest

from edge.commands import service


def test_the_end_of_a_parent_is_no_second_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []
    stops: list[str] = []
    monkeypatch.setattr(os, "kill", lambda *call: sent.append(call))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        service.stop_on_signals(lambda: stops.append("stop"))
        service.terminate()
        assert sent == [(os.getpid(), signal.SIGTERM)]
        signal.raise_signal(signal.SIGTERM)
        assert stops == ["stop"] and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        service.terminate()  # while it drains: a second signal would end it at once
        assert len(sent) == 1
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
