"""The adaptive map: an agent says where to measure next, while the present point is measured.

Theory of operation
-------------------
One run, one event a point. The order of a point, with the checkpoints that make it right under pause and resume:

    checkpoint, event in "suggestions"                      what was asked, and what the agent knew
    checkpoint, move, trigger, wait, hold the readings      repeated as a whole: positions and values stay together
    checkpoint, event in "primary" or "rejected"            repeated with the readings that are held
    checkpoint, ingest, wait for the next suggestion        an observation is made of the definitive event

A pause makes the RunEngine repeat the messages since the last checkpoint, their answers lost and their errors thrown
in wherever the plan has got to. So no message here is expected to raise when repeated (failures are kept in `Held`,
timeouts in `Suggesting`), and what the plan does is decided right after a checkpoint, from what is kept.

Messages are yielded as such: the stubs of bluesky record a traceback with each, half of the time that a point costs.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

import bluesky.preprocessors as bpp
from bluesky.protocols import Readable, Status
from bluesky.utils import FailedStatus, IllegalMessageSequence, Msg

from edge.experiment.callbacks import PrimaryEvents
from edge.experiment.judging import Fault, Judge
from edge.experiment.mapping import Actuator, MapDevices, start_document
from edge.experiment.records import rejection_record, series_record, series_row, suggestion_record, suggestion_row
from edge.experiment.series import series_of
from edge.experiment.settings import MapSettings
from edge.experiment.suggesting import Agent, Proposal, Suggesting
from edge.experiment.waiting import finished

Plan = Generator[Msg, Any, Any]
DEFAULTS = MapSettings()


def adaptive_map(
    detector: Readable,
    actuators: Sequence[Actuator],
    agent: Agent,
    points: int,
    *,
    settings: MapSettings = DEFAULTS,
    md: Mapping[str, Any] | None = None,
) -> Plan:
    """Measure up to `points` positions that `agent` chooses; it is asked for the next while one is measured.

    Args:
        detector: Readable and Triggerable; its value and variance are event fields (see MapSettings).
        actuators: Movable and Readable, one for each axis of the agent.
        agent: an `edge.agent.service.AgentService`.
        points: events in stream "primary", unless the agent has nothing left before.
        settings: monitor, attempts, timeouts, fallback positions.
        md: more metadata for the start document.

    Returns:
        The run's uid.

    Raises:
        BeamLost, PointFailed: a point was bad in all attempts.
        AgentFailed: no suggestion came and no fallback position is left.
        DetectorError: the detector could not be staged.
    """
    devices = MapDevices.of(detector, actuators, settings)
    events = PrimaryEvents()
    run = _Map(devices, agent, points, settings, events)
    metadata = start_document(devices, agent, points, settings) | dict(md or {})
    measured = bpp.finalize_wrapper(run.measure(), run.finish)
    try:
        return (yield from bpp.subs_wrapper(bpp.run_wrapper(measured, md=metadata), events))
    finally:  # also when the RunEngine halts, which runs no more messages
        run.abandon()


class _Map:
    """One run of the plan."""

    def __init__(
        self, devices: MapDevices, agent: Agent, points: int, settings: MapSettings, events: PrimaryEvents
    ) -> None:
        self._devices, self._points, self._settings, self._events = devices, points, settings, events
        self._suggesting = Suggesting(agent, uuid4().hex, settings.suggest_timeout_s, settings.fallback)
        self._judge = Judge(devices, settings.monitor)
        self._suggestion = suggestion_record(devices.fields.axes)
        self._rejection = rejection_record()
        self._staged: list[Any] = []

    def measure(self) -> Plan:
        """Stage, then one point after the other. A failed Status is told as what it failed with."""
        try:
            yield from self._stage()
            yield from self._measure_points()
        except FailedStatus as error:
            raise (error.__cause__ or error) from None

    def _measure_points(self) -> Plan:
        for index in range(self._points):
            yield Msg("wait_for", None, [self._suggesting.answered()])
            yield Msg("checkpoint")
            proposal = self._suggesting.take()
            if proposal is None:
                return
            yield from self._announce(proposal)
            yield from self._point(proposal, last=index == self._points - 1)
            suggested = proposal.suggestion
            observation = self._events.observation(self._devices.fields, suggested.id if suggested else None)
            self._suggesting.ingest(observation)

    def _stage(self) -> Plan:
        """Stage all together. Waits by the Statuses themselves: a wait for a group does not survive a pause."""
        self._suggesting.ask()
        statuses = []
        for device in self._devices.all:
            self._staged.append(device)
            answer = yield Msg("stage", device, group="stage")
            if isinstance(answer, Status):
                statuses.append(answer)
        yield from _settle(statuses)

    def finish(self) -> Plan:
        """However it ended, except by halt: unstage, and record what became of the detector's series."""
        # An event may be open where the run was interrupted; mostly there is none, and then this is refused.
        with suppress(IllegalMessageSequence):
            yield Msg("drop")
        yield from _unstage(self._staged)
        record = series_record()
        for series in series_of(self._devices.detector):
            record.set_values(series_row(series))
            yield from _event("series", [record])
            yield Msg("checkpoint")  # a repeat would read the next row

    def abandon(self) -> None:
        """What was suggested and not measured will not be."""
        self._suggesting.finish()

    def _announce(self, proposal: Proposal) -> Plan:
        self._devices.check_axes(proposal.position)
        self._suggestion.set_values(suggestion_row(proposal))
        yield from _event("suggestions", [self._suggestion])

    def _point(self, proposal: Proposal, last: bool) -> Plan:
        """Attempts at one point, until one is good."""
        fault: Fault | None = None
        for attempt in range(1, self._settings.attempts + 1):
            if fault is not None and fault.beam_lost:
                yield Msg("sleep", None, self._settings.beam_wait_s)
            yield Msg("checkpoint")
            yield from self._move(proposal.position)
            if not last:
                self._suggesting.ask()
            yield from self._acquire()
            yield Msg("checkpoint")
            fault = self._judge.fault()
            if fault is None:
                yield from _event("primary", self._devices.held)
                yield Msg("checkpoint")
                return
            yield from self._reject(proposal, attempt, fault)
        assert fault is not None
        raise fault.error(proposal.position, self._settings.attempts)

    def _move(self, position: Mapping[str, float]) -> Plan:
        group = f"move-{uuid4()}"
        for axis, actuator in self._devices.actuators.items():
            yield Msg("set", actuator, position[axis], group=group)
        yield Msg("wait", None, group=group)

    def _acquire(self) -> Plan:
        """Trigger what can be triggered, all together, and hold all readings."""
        group = f"point-{uuid4()}"
        for held in self._devices.triggered:
            yield Msg("trigger", held, group=group)
        yield Msg("wait", None, group=group)
        yield Msg("wait_for", None, [held.hold for held in self._devices.held])

    def _reject(self, proposal: Proposal, attempt: int, fault: Fault) -> Plan:
        self._rejection.set_values(
            {
                "suggestion_id": proposal.suggestion.id if proposal.suggestion else "",
                "attempt": attempt,
                "beam_lost": fault.beam_lost,
                "reason": fault.reason,
            }
        )
        yield from _event("rejected", [*self._devices.held_actuators, self._rejection])
        yield Msg("checkpoint")


def _event(stream: str, readables: Iterable[Any]) -> Plan:
    yield Msg("create", None, name=stream)
    for readable in readables:
        yield Msg("read", readable)
    yield Msg("save")


def _unstage(devices: Sequence[Any]) -> Plan:
    statuses = []
    for device in reversed(devices):
        answer = yield Msg("unstage", device, group="unstage")
        if isinstance(answer, Status):
            statuses.append(answer)
    yield from _settle(statuses)


def _settle(statuses: Sequence[Status]) -> Plan:
    if statuses:
        yield Msg("wait_for", None, [finished(status) for status in statuses])
