"""The supervisor over small real processes: what it does when they are killed, hang, crash, or do not stop."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from edge.supervision import processes, runfolder
from edge.supervision.inbox import Inbox
from edge.supervision.notify import Notifier
from tests.system.upping import running, toys
from tests.system.witness import eventually, process_runs


def started(folder: Path, name: str) -> list[int]:
    """Pids of a toy's starts."""
    return [int(line) for line in (folder / f"{name}.starts").read_text().split()]


def test_order_readiness_a_kill_and_an_orderly_end(tmp_path: Path) -> None:
    with running(toys(tmp_path, first="good", second__first="good")) as up:
        told = up.ready()["services"]
        assert told == {"first": {"address": "tcp://127.0.0.1:9001"}, "second": {"address": "tcp://127.0.0.1:9001"}}
        order = [(line["service"], line["state"]) for line in up.told if line["event"] == "change"]
        assert order.index(("first", "ready")) < order.index(("second", "starting"))
        victim = up.change("first", "ready")["pid"]
        mark = len(up.told)
        os.kill(victim, signal.SIGKILL)
        assert up.change("first", "backing-off", mark)["reason"] == "ended: killed by SIGKILL; restart in 0.2 s"
        assert up.change("first", "ready", mark)["pid"] != victim
        state = runfolder.read_state(tmp_path)
        assert state is not None and runfolder.is_held(tmp_path)
        assert [(each.name, each.state, each.restarts) for each in state.services] == [
            *(("first", "ready", 1), ("second", "ready", 0)),
        ]
        assert up.stop() == 0
        assert up.told[-1]["reason"] == "stopped as asked"
        assert len(started(tmp_path, "second")) == 1, "an end of what it needs does not touch it"
        order = [(line["service"], line["state"]) for line in up.told if line["event"] == "change"]
        assert order.index(("second", "stopped")) < order.index(("first", "stopping"))
    assert not runfolder.is_held(tmp_path)
    assert not any(process_runs(pid) for name in ("first", "second") for pid in started(tmp_path, name))


def test_what_hangs_or_is_never_ready_is_killed_and_started_again(tmp_path: Path) -> None:
    with running(toys(tmp_path, lied="liar,good", hung="mute,good", lame="never,good")) as up:
        assert up.change("hung", "stopping")["reason"] == "no beat for 1 s: killed"
        assert up.change("lame", "stopping")["reason"] == "not ready within 2 s: killed"
        assert up.change("lied", "stopping")["reason"] == "not ready within 2 s: killed", "a child may not speak for it"
        up.ready()
        assert up.stop() == 0


def test_a_crash_loop_goes_on_slower_and_slower_and_its_errors_are_told(tmp_path: Path) -> None:
    with running(toys(tmp_path, loop="crash,crash,crash,good")) as up:
        up.ready()
        delays = [line["reason"] for line in up.told if line.get("state") == "backing-off"]
        assert delays == [f"ended: exit code 1: told to crash; restart in {delay} s" for delay in ("0.2", "0.4", "0.8")]
        said = [line["reason"] for line in up.told if line["event"] == "said"]
        assert said.count("Error: told to crash") == 3 and "12:00:00 WARNING  a warning ?[2J of the toy" in said
        assert up.stop() == 0


@pytest.mark.parametrize("behaviour", ["usage", "config"])
def test_what_can_never_run_ends_everything_with_its_own_words(tmp_path: Path, behaviour: str) -> None:
    with running(toys(tmp_path, fine="good", wrong__fine=behaviour)) as up:
        assert up.end() == os.EX_CONFIG
        code = {"usage": 2, "config": os.EX_CONFIG}[behaviour]
        assert up.told[-1]["reason"] == f"wrong ended: exit code {code}: told to {behaviour}"
        assert up.changes("fine")[-1] == "stopped"


def test_what_does_not_stop_is_killed_after_its_patience(tmp_path: Path) -> None:
    with running(toys(tmp_path, deaf="deaf", good="good")) as up:
        up.ready()
        assert up.stop(signal.SIGINT) == 3
        assert "not ended within 1 s: killed" in [line.get("reason") for line in up.told]
    assert not any(process_runs(pid) for pid in started(tmp_path, "deaf"))


def test_a_second_signal_kills_at_once(tmp_path: Path) -> None:
    services = toys(tmp_path, stuck="good", good="good")
    with running(services) as up:
        up.ready()
        os.kill(started(tmp_path, "stuck")[0], signal.SIGSTOP)  # heeds no SIGTERM; its patience is long
        up.process.terminate()
        up.wait_for(lambda line: line["event"] == "note")
        assert up.stop(signal.SIGTERM) == 3
        assert not process_runs(started(tmp_path, "stuck")[0])


def test_with_a_service_goes_its_whole_session_and_what_left_it_is_waited_for(tmp_path: Path) -> None:
    with running(toys(tmp_path, parent="family")) as up:
        pid = up.change("parent", "ready")["pid"]
        eventually(lambda: len(family(pid)) == 2, "its children")
        children = family(pid)
        os.kill(pid, signal.SIGKILL)
        mark = len(up.told)
        again = up.change("parent", "ready", mark)["pid"]
        eventually(lambda: not any(process_runs(child) for child in children), "the end of its children")
        eventually(lambda: len(family(again)) == 2, "its new children")
        children = family(again)
        assert up.stop() == 0
        assert not any(process_runs(child) for child in children)


def test_it_stops_in_order_when_whoever_started_it_has_ended(tmp_path: Path) -> None:
    with running(toys(tmp_path, good="good")) as up:
        up.ready()
        assert up.process.stdin is not None
        up.process.stdin.close()
        assert up.end() == 0
        assert up.told[-1]["reason"] == "stopped as asked"


def test_a_new_supervisor_waits_for_what_a_killed_one_left(tmp_path: Path) -> None:
    services = toys(tmp_path, slow="slow", deaf="deaf")
    with running(services) as up:
        up.ready()
        up.stop(signal.SIGKILL)
    old = [started(tmp_path, name)[-1] for name in ("slow", "deaf")]
    assert not runfolder.is_held(tmp_path)
    with running(services) as up:
        up.ready()
        assert not any(process_runs(pid) for pid in old)
        notes = [line["reason"] for line in up.told if line["event"] == "note"]
        assert notes[0].startswith("waiting for what an earlier `edge up` left") and str(old[1]) in notes[0]
        assert notes[-1] == f"deaf (pid {old[1]}) did not end within 1 s: killed"
        assert up.stop() == 3  # the deaf one again


def test_a_pid_that_is_another_process_now_is_left_alone(tmp_path: Path) -> None:
    with running(toys(tmp_path, good="good")) as up:
        up.ready()
        up.stop(signal.SIGKILL)
    state = runfolder.read_state(tmp_path)
    assert state is not None
    eventually(lambda: not process_runs(state.services[0].pid or 0), "the end of the service")
    ours = runfolder.ServiceState("good", "ready", os.getpid(), (processes.began(os.getpid()) or 0) + 1)
    runfolder.write_state(tmp_path, runfolder.UpState(1, 1, state.boot, "", 0.0, (ours,)))
    with running(toys(tmp_path, good="good")) as up:
        up.ready()
        assert not [line for line in up.told if line["event"] == "note"]
        assert up.stop() == 0


def test_a_second_supervisor_of_a_folder_refuses(tmp_path: Path) -> None:
    services = toys(tmp_path, good="good")
    with running(services) as up:
        up.ready()
        with running(services) as second:
            assert second.end() == 1
            assert f"another `edge up` (pid {up.process.pid}, toys) runs with the folder {tmp_path}" in second.errors()
        assert up.process.poll() is None


def test_it_is_itself_a_service_that_speaks(tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    outer.mkdir()
    inbox = Inbox(outer)
    environment = {"NOTIFY_SOCKET": str(inbox.address), "WATCHDOG_USEC": "300000"}
    with running(toys(tmp_path / "run", good="good"), environment) as up:
        up.ready()
        assert up.stop() == 0
        heard = list(inbox.read())
    assert {pid for pid, _ in heard} == {up.process.pid}, "its services speak to it alone"
    said = [name for _, words in heard for name in words]
    assert {"READY", "WATCHDOG"} <= set(said) and said[-1] == "STOPPING"
    inbox.close()


def test_a_supervisor_that_was_stopped_for_a_while_kills_nobody(tmp_path: Path) -> None:
    with running(toys(tmp_path, good="good,mute")) as up:
        pid = up.ready() and up.change("good", "ready")["pid"]
        up.process.send_signal(signal.SIGSTOP)
        time.sleep(1.5)  # longer than its services may be silent
        up.process.send_signal(signal.SIGCONT)
        assert up.stop() == 0
        assert started(tmp_path, "good") == [pid]


def test_when_everything_was_stopped_for_a_while_nobody_is_killed(tmp_path: Path) -> None:
    with running(toys(tmp_path, good="good,mute")) as up:
        up.ready()
        pid = up.change("good", "ready")["pid"]
        up.process.send_signal(signal.SIGSTOP)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(3.0)  # a suspended machine, a frozen container
        up.process.send_signal(signal.SIGCONT)
        time.sleep(0.3)  # it looks at the clock before its services can say anything
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.6)
        assert up.stop() == 0
        assert started(tmp_path, "good") == [pid]


def test_a_run_folder_that_somebody_removes_costs_no_service(tmp_path: Path) -> None:
    folder = tmp_path / "parent" / "run"
    folder.parent.mkdir()
    with running(toys(folder, good="good,mute")) as up:
        up.ready()
        (folder / "notify").unlink()
        up.wait_for(lambda line: line["event"] == "note" and "made anew; start `edge up` again" in line["reason"])
        folder.rename(tmp_path / "away")
        folder.parent.rmdir()
        folder.parent.write_text("a file: the folder cannot be made")
        up.wait_for(lambda line: line["event"] == "note" and "cannot be made anew" in line["reason"])
        time.sleep(2.0)  # longer than its services may be silent
        folder.parent.unlink()
        mark = len(up.told)
        up.wait_for(lambda line: line["event"] == "note" and "made anew; start" in line["reason"], mark)
        time.sleep(1.5)  # its beats are heard again
        assert up.stop() == 0
        assert "backing-off" not in up.changes("good")


def test_the_kernel_says_who_speaks(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    notifier = Notifier({"NOTIFY_SOCKET": str(inbox.address), "WATCHDOG_USEC": "300000"})
    notifier.status("two\nlines, and\tmore")
    notifier.ready()
    notifier.beat()
    notifier.beat()  # at once: not sent
    notifier.stopping()
    me = os.getpid()
    assert list(inbox.read()) == [
        *((me, {"STATUS": "two lines, and more"}), (me, {"READY": "1"}), (me, {"WATCHDOG": "1"})),
        (me, {"STOPPING": "1"}),
    ]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
        for data in (b"", b"\xff\xfe=\x00", b"READY", b"=" * 4096, b"MAINPID=1\nREADY=1"):
            stranger.sendto(data, str(inbox.address))
    assert [sorted(words) for _, words in inbox.read()][-1] == ["MAINPID", "READY"]
    inbox.close()
    notifier.status("nobody hears this, and nobody minds")
    notifier.close()
    notifier.ready()


def test_a_supervisor_that_does_not_listen_holds_a_beat_up_not_at_all(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    notifier = Notifier({"NOTIFY_SOCKET": str(inbox.address), "WATCHDOG_USEC": "3"})
    for _ in range(2_000):  # more than the queue of any kernel
        notifier.beat()
    assert list(inbox.read())
    notifier.close()
    inbox.close()


def test_without_a_supervisor_nothing_is_said() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.beat()
    notifier.status("x")
    notifier.stopping()
    notifier.close()


def family(pid: int) -> list[int]:
    """Living children of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and process_runs(int(entry.name)):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found
