"""Carries out what the state machine orders: processes, signals, words, timers. One thread, one `poll(2)`."""

import os
import select
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from edge.supervision import processes, runfolder
from edge.supervision.child import Child
from edge.supervision.group import Group
from edge.supervision.inbox import Inbox
from edge.supervision.leftovers import await_earlier, end_orphans
from edge.supervision.logfile import LogFile
from edge.supervision.machine import Event, Order, Service
from edge.supervision.notify import MAX_STATUS, Notifier
from edge.supervision.record import Record
from edge.supervision.signals import Signals, caught
from edge.supervision.voice import Voice

TURN_S = 0.25
"""How long a line in a log may wait until it is told."""
HELD_UP_S = 1.0
"""A turn that takes so much longer shows that this process was stopped or had no processor, and others perhaps too."""
TOLD_LINES = 20
"""Log lines of one service that are told in one turn; the log has the rest."""
ORPHANS_S = 15.0
"""At the end: how long processes that a service left behind may take to end by themselves."""
ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
WORDS = {"READY": Event.SAID_READY, "WATCHDOG": Event.BEAT, "STOPPING": Event.SAID_STOPPING}

EXIT_STOPPED = 0
EXIT_KILLED = 3


def supervise(
    services: Sequence[Service], folder: Path, voice: Voice, record: Record, parent: int | None = None
) -> tuple[int, str]:
    """Be the folder's only supervisor, wait for what an earlier one left, then run as `Runner` does.

    Raises:
        RunFolderError: the folder cannot be used, or another one has it (`HeldError`).
    """
    lock = runfolder.take(folder)
    try:
        if left := await_earlier(folder, voice.note):
            raise runfolder.RunFolderError(
                f"{', '.join(left)} of an earlier `edge up` cannot be ended: the kernel holds it; if it stays, restart "
                "the machine"
            )
        return Runner(services, folder, voice, record, parent).run()
    finally:
        os.close(lock)


class Runner:
    """Runs services until it is told to stop, or one of them cannot be run at all.

    Args:
        services: those that are needed first.
        folder: the run folder, whose lock is held.
        record: keeps `state.json`.
        parent: a descriptor whose end means to stop: whoever started this has ended.
    """

    def __init__(
        self, services: Sequence[Service], folder: Path, voice: Voice, record: Record, parent: int | None = None
    ) -> None:
        self._parent = parent
        self._voice = voice
        self._record = record
        self._folder = folder
        self._group = Group(services, time.monotonic())
        self._logs = {service.name: LogFile(folder / f"{service.name}.log") for service in services}
        self._children: dict[str, Child] = {}
        self._announced: dict[str, Any] | None = None
        self._killed = False
        self._removed = False  # the folder, and it could not be made anew
        self._notifier = Notifier()  # `edge up` may be a service of systemd

    def run(self) -> tuple[int, str]:
        """Run until all has ended; returns an exit code and a reason for it."""
        processes.adopt_orphans()
        processes.raise_file_limit()
        processes.forbid_core_files()
        with ExitStack() as stack:
            inbox = Inbox(self._folder)
            stack.callback(inbox.close)
            signals = stack.enter_context(caught((*ASKING, signal.SIGCHLD)))
            heard = time.monotonic()
            while not self._group.over:
                self._obey(self._group.advance(heard), inbox)
                self._tell()
                before, heard = heard, self._turn(inbox, signals)
                if (held_up_s := heard - before - TURN_S) > HELD_UP_S:
                    self._group.put_off(held_up_s)
                self._tell()  # before anything follows from it
            self._killed |= end_orphans(ORPHANS_S, lambda: any(number in ASKING for number in signals.read()))
        if self._group.failure:
            return os.EX_CONFIG, self._group.failure
        if self._killed:
            return EXIT_KILLED, "stopped; what did not end in time was killed"
        return EXIT_STOPPED, "stopped as asked"

    def _turn(self, inbox: Inbox, signals: Signals) -> float:
        """Wait until something happens or is due, and enter it: what a process said before that it ended.

        Returns:
            Until when everything was heard. Nobody is late by a later clock: this process may have been stopped since.
        """
        poll = select.poll()
        poll.register(inbox, select.POLLIN)
        poll.register(signals, select.POLLIN)
        if self._parent is not None:
            poll.register(self._parent, select.POLLIN)
        deadline = self._group.deadline
        found = poll.poll(1000 * (TURN_S if deadline is None else min(TURN_S, max(0.0, deadline - time.monotonic()))))
        heard = time.monotonic()
        self._hear(inbox)
        if not inbox.reachable:
            self._be_reachable(inbox)
        self._reap()
        self._heed(signals, inbox)
        if self._parent in dict(found) and self._parent is not None and not os.read(self._parent, 4096):
            self._parent = None
            self._stop("stopping: whoever started this has ended")
        for name in self._logs:
            self._pass_on(name)
        self._voice.flush()
        self._notifier.beat()
        return heard

    def _hear(self, inbox: Inbox) -> None:
        heard = list(inbox.read())
        for child in self._children.values():
            child.read_facts()  # what it told before it said that it is ready
        names = {child.pid: name for name, child in self._children.items()}
        for pid, words in heard:
            if (name := names.get(pid)) is None:
                continue  # a process of one of ours, or a stranger
            if "STATUS" in words:
                self._record.status[name] = words["STATUS"][:MAX_STATUS]
            for word, event in WORDS.items():
                if words.get(word) == "1":
                    self._group.said(name, event, time.monotonic())

    def _be_reachable(self, inbox: Inbox) -> None:
        """Somebody removed the run folder (a login session that ends does): nobody is killed for being unheard."""
        for name in self._group.running():
            self._group.said(name, Event.BEAT, time.monotonic())
        try:
            inbox.renew()
        except (OSError, runfolder.RunFolderError) as error:
            if not self._removed:
                self._removed = True
                self._voice.note(
                    f"somebody removed {self._folder}, and it cannot be made anew ({error}): what runs goes "
                    "on, but nothing can be started; set up.folder to one that stays, and start `edge up` again"
                )
            return
        self._removed = False
        self._voice.note(
            f"somebody removed {inbox.address}: it was made anew; start `edge up` again when there is time, `edge "
            "status` may not find this one"
        )

    def _reap(self) -> None:
        """Enter every child that has ended; processes that services left behind are children, too."""
        names = {child.pid: name for name, child in self._children.items()}
        while (pid := processes.ended_child()) is not None:
            if (name := names.get(pid)) is None:
                os.waitpid(pid, 0)
                continue
            self._children[name].read_facts()
            code = self._children[name].reap()
            self._pass_on(name)
            del self._children[name]
            self._record.status.pop(name, None)  # nobody is there to say it
            self._group.ended(name, code, time.monotonic(), self._logs[name].last_words if code > 0 else "")

    def _heed(self, signals: Signals, inbox: Inbox) -> None:
        for number in signals.read():
            if number not in ASKING:
                continue
            if self._group.stopping:
                self._voice.note(f"{number.name} again: everything is killed")
                self._obey(self._group.stop_now(time.monotonic()), inbox)
            else:
                self._stop(f"{number.name}: stopping; once more kills")

    def _stop(self, text: str) -> None:
        self._voice.note(text)
        self._notifier.stopping()
        self._group.stop()

    def _obey(self, orders: list[tuple[str, Order]], inbox: Inbox) -> None:
        for name, order in orders:
            if order is Order.START:
                self._start(name, inbox)
            elif (child := self._children.get(name)) is not None:
                self._killed |= order is Order.KILL and self._group.stopping
                child.kill() if order is Order.KILL else child.terminate()

    def _start(self, name: str, inbox: Inbox) -> None:
        self._record.status.pop(name, None)
        service = self._group.lives[name].service
        try:
            self._children[name] = Child(service, self._logs[name], str(inbox.address), os.environ)
        except OSError as error:
            self._group.ended(name, None, time.monotonic(), f"{error.strerror} ({error.filename})")

    def _tell(self) -> None:
        """What is new: to people, to systemd, to `state.json`."""
        changes = self._group.changes()
        for change in changes:
            self._voice.change(change.service, self._pid(change.service), change.state, change.reason)
        facts = {name: self._children[name].facts for name in reversed(self._group.running())}  # serve before triton
        if self._group.all_ready and facts != self._announced:
            self._announced = facts
            self._voice.ready(facts)
            self._notifier.ready()
        if problem := self._record.keep(self._group, self._children, self._logs):
            self._voice.note(problem)

    def _pass_on(self, name: str) -> None:
        lines = self._logs[name].matters()
        if len(lines) > TOLD_LINES:
            more = f"... {len(lines) - TOLD_LINES} more such lines in {self._logs[name].path}"
            lines = [*lines[:TOLD_LINES], more]
        for line in lines:
            self._voice.said(name, self._pid(name), line)

    def _pid(self, name: str) -> int | None:
        child = self._children.get(name)
        return child.pid if child else None
