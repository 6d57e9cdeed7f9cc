"""What a run of `adaptive_map` is doing, from the messages that its RunEngine takes up. Pure but for the clock.

The order of messages is told in `edge.experiment.plans`. A RunEngine that resumes repeats them in their order.
"""

import time
from dataclasses import dataclass

from bluesky.utils import Msg

STAGING = "staging, unstaging"
THINKING = "waiting for the agent"
MOVING = "moving"
EXPOSING = "exposing"
RESULTS = "waiting for results"
SAVING = "reading, saving"
ACTIVITIES = (STAGING, THINKING, MOVING, EXPOSING, RESULTS, SAVING)

_BY_COMMAND = {"set": MOVING, "trigger": EXPOSING} | dict.fromkeys(
    ("checkpoint", "create", "read", "save", "drop", "sleep"), SAVING
)
# What is waited for is told by the message before: a repeated wait follows on itself.
_WAITED_FOR = {"wait": SAVING, "checkpoint": THINKING, "wait_for": THINKING}


@dataclass(frozen=True)
class Doing:
    """One message that was taken up."""

    command: str = ""
    activity: str = STAGING
    since_s: float = 0.0  # when the activity began


def after(before: Doing, command: str, at_s: float) -> Doing:
    """What the plan does once it has come to the message `command` at `at_s`."""
    if command == "wait_for":
        activity = _WAITED_FOR.get(before.command, STAGING)
    elif command == "wait":
        activity = before.activity
    else:
        activity = _BY_COMMAND.get(command, STAGING)
    return Doing(command, activity, before.since_s if activity == before.activity else at_s)


class Watch:
    """A `msg_hook`. To be read from any thread.

    Args:
        exposure_s: one trigger of the detector; what its Status waits for beyond that are the results.
    """

    def __init__(self, exposure_s: float) -> None:
        self._exposure_s = exposure_s
        self._doing = Doing()
        self.run_open = False

    def __call__(self, message: Msg) -> None:
        self._doing = after(self._doing, message.command, time.perf_counter())
        if message.command in ("open_run", "close_run"):
            self.run_open = message.command == "open_run"

    def activity(self, at_s: float) -> str:
        """What is done at `at_s` (of `time.perf_counter`), which is now or was a moment ago."""
        doing = self._doing
        exposed = doing.activity == EXPOSING and at_s - doing.since_s > self._exposure_s
        return RESULTS if exposed else doing.activity
