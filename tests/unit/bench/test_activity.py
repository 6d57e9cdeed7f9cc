from bluesky.utils import Msg

from edge.bench import activity
from edge.bench.activity import EXPOSING, MOVING, RESULTS, SAVING, STAGING, THINKING, Watch

POINT = [
    ("checkpoint", SAVING),
    ("create", SAVING),
    ("read", SAVING),
    ("save", SAVING),
    ("checkpoint", SAVING),
    ("set", MOVING),
    ("set", MOVING),
    ("wait", MOVING),
    ("trigger", EXPOSING),
    ("wait", EXPOSING),
    ("wait_for", SAVING),
    ("checkpoint", SAVING),
    ("create", SAVING),
    ("save", SAVING),
    ("checkpoint", SAVING),
    ("wait_for", THINKING),
]
RUN = [
    ("subscribe", STAGING),
    ("open_run", STAGING),
    ("stage", STAGING),
    ("wait_for", STAGING),
    ("wait_for", THINKING),
    *POINT,
    *POINT,
    ("drop", SAVING),
    ("unstage", STAGING),
    ("wait_for", STAGING),
    ("close_run", STAGING),
]


def activities(commands: list[str]) -> list[str]:
    doing, found = activity.Doing(), []
    for at, command in enumerate(commands):
        doing = activity.after(doing, command, at)
        found.append(doing.activity)
    return found


def test_a_run():
    assert list(zip((command for command, _ in RUN), activities([command for command, _ in RUN]), strict=True)) == RUN


def test_a_pause_repeats_messages():
    """The RunEngine repeats what came since the last checkpoint: after a pause while moving, and while waiting."""
    commands = ["checkpoint", "set", "wait", "set", "wait", "trigger", "wait"]
    assert activities(commands)[1:] == [MOVING] * 4 + [EXPOSING] * 2
    assert activities(["checkpoint", "wait_for", "wait_for"])[1:] == [THINKING] * 2


def test_an_activity_begins_once():
    doing = activity.Doing()
    for at, command in enumerate(("set", "set", "wait"), 5):
        doing = activity.after(doing, command, at)
    assert doing == activity.Doing("wait", MOVING, 5)


def test_what_lasts_longer_than_the_exposure_waits_for_results(monkeypatch):
    monkeypatch.setattr("time.perf_counter", lambda: 10.0)
    watch = Watch(0.5)
    watch(Msg("trigger"))
    watch(Msg("wait"))
    assert [watch.activity(at) for at in (10.0, 10.4, 10.6)] == [EXPOSING, EXPOSING, RESULTS]
    watch(Msg("set"))
    assert watch.activity(11.0) == MOVING


def test_between_the_runs_there_is_nothing_to_pause():
    watch = Watch(0.5)
    seen = []
    for command, _ in [("set", MOVING), *RUN, ("unsubscribe", STAGING)]:
        watch(Msg(command))
        seen.append(watch.run_open)
    assert seen[:2] == [False, False]
    assert all(seen[3:-2])
    assert seen[-2:] == [False, False]
