"""What the commands that run as services share: how they are asked to stop, and how they refuse."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import click


class Refused(click.ClickException):
    """The configuration cannot be used: to start again would not help, and no supervisor tries (`EX_CONFIG`)."""

    exit_code = os.EX_CONFIG


def stop_at_eof(stop: Callable[[], None]) -> None:
    """Call `stop`, from a thread, when standard input ends: the process that started this one is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stop()

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def terminate() -> None:
    """Ask this process to stop as `kill` does. Nothing where it was asked already: a second signal ends it at once."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        os.kill(os.getpid(), signal.SIGTERM)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at Ctrl-C or SIGTERM; a second signal ends the process at once."""

    def stopped(signum: int, _: Any) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        stop()

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stopped)
