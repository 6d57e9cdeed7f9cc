"""Keeps `state.json`: what is known of all services, for `edge status` and for the next `edge up`."""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from edge.supervision import processes, runfolder
from edge.supervision.child import Child
from edge.supervision.group import Group
from edge.supervision.logfile import LogFile


class Record:
    """Written when something in it has changed.

    Args:
        folder: the run folder.
        config: the configuration file.
        proposal: whose data are taken; empty for nobody's.
    """

    def __init__(self, folder: Path, config: str, proposal: str = "") -> None:
        self.status: dict[str, str] = {}
        """What services say themselves, by name."""
        self._folder = folder
        self._config = config
        self._proposal = proposal
        self._began = time.time()
        self._started = processes.began(os.getpid()) or 0
        self._boot = processes.boot_id()
        self._since: dict[str, tuple[str, float]] = {}
        self._written: runfolder.UpState | None = None
        self._failing = False

    def keep(self, group: Group, children: Mapping[str, Child], logs: Mapping[str, LogFile]) -> str:
        """Write what is new. Returns what is wrong with that, in words, once; else an empty text."""
        services = tuple(self._service(name, group, children.get(name), logs[name]) for name in group.lives)
        state = runfolder.UpState(
            pid=os.getpid(),
            began=self._started,
            boot=self._boot,
            config=self._config,
            since=self._began,
            services=services,
            proposal=self._proposal,
            stopping=group.stopping,
        )
        if state == self._written:
            return ""
        try:
            runfolder.write_state(self._folder, state)
        except OSError as error:
            told, self._failing = self._failing, True
            where = self._folder / "state.json"
            return "" if told else f"cannot write {where}: {error.strerror}; `edge status` tells what was before"
        self._written, self._failing = state, False
        return ""

    def _service(self, name: str, group: Group, child: Child | None, log: LogFile) -> runfolder.ServiceState:
        life = group.lives[name]
        if self._since.get(name, ("", 0.0))[0] != life.state:
            self._since[name] = (life.state, time.time())
        return runfolder.ServiceState(
            name=name,
            state=life.state,
            pid=child.pid if child else None,
            began=child.began if child else 0,
            since=self._since[name][1],
            restarts=life.restarts,
            reason=life.reason,
            status=self.status.get(name, ""),
            last_end=life.last_end,
            patience_s=life.service.patience_s,
            log=str(log.path),
            facts=child.facts if child else {},
        )
