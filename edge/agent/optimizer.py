"""The agent: Sobol points first, then wherever there is most to learn for the beam time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.agent.acquisition import ACQUISITIONS, Outlook
from edge.agent.hyperparameters import Data, untrained
from edge.agent.log import Log
from edge.agent.messages import CannotSuggest, Observation, Suggestion
from edge.agent.options import Options, per_axis_of, start_path, sublattice
from edge.agent.past import Abandoned, Learned, Past
from edge.agent.planning import MOST_PLANNED, path_through, without_nearest
from edge.agent.space import Space
from edge.agent.surrogate import Surrogate
from edge.agent.training import Trained, Training

MOST_PENDING = 64
RETRAIN_GROWTH = 1.5
"""Length scales are learned anew when there are this many times as many observations as the last time."""
PLANNED = "integrated_variance_tour"


@dataclass(frozen=True)
class Posterior:
    """What the agent believes of the map now."""

    positions: NDArray[np.float64]  # [M, axes], a lattice, the last axis fastest
    mean: NDArray[np.float64]  # [M]
    sigma: NDArray[np.float64]  # [M], of the noiseless value, pending positions counted as measured


class GaussianProcessAgent:
    """Suggests where the map is least known, for the time it takes. See `messages.Agent`."""

    def __init__(
        self,
        space: Space,
        *,
        seed: int = 0,
        name: str = "agent",
        options: Options | None = None,
        past: Sequence[Past] = (),
    ) -> None:
        """`seed` scrambles the points of the start; `name` begins every suggestion's id.

        With the `past` of an agent of the same space, seed, name and options it goes on where that one left off: what
        was pending is pending again, and the next suggestion is the one that it would have made. Raises ValueError
        where the past cannot be that of such an agent.
        """
        self.options = options or Options()
        self._space = space
        self._name = name
        self._each = self.options.exposure_s + space.overhead_s
        per_axis = per_axis_of(self.options.candidates, space)
        self._positions = space.candidates(per_axis)
        self._unit = space.to_unit(self._positions)
        self._references = sublattice(len(space.axes), per_axis, self.options.references)
        self._log = Log(space)
        learned = [one for one in past if isinstance(one, Learned)]
        is_past_start = self._knows_the_end and any(one.trained_on for one in learned)
        self._start = [] if is_past_start else list(start_path(space, self.options, seed))  # takes seconds
        self._tour: list[int] = []
        self._since: list[NDArray[np.float64]] = []  # positions put out since the last training was handed out
        self._surrogate: Surrogate | None = None
        self._trained_on = 0  # observations, of the newest training that was handed out
        self._adopted_on = 0  # of the newest that was adopted
        self._number = 0
        self._seconds = 0.0  # of beam time for all that was put out
        self.surrogate_version = 0
        for one in past:
            self._relive(one)
        if learned:  # the surrogate is built once, with all rows
            self._use(Surrogate(self._unit, learned[-1].hyperparameters))
            self.surrogate_version = learned[-1].version

    @property
    def observations(self) -> tuple[Observation, ...]:
        return self._log.observations

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """See `messages.Agent`; `n` of them unless a bound is reached first, for something is always left."""
        pending = len(self._log.pending)
        room = min(MOST_PENDING - pending, self._log.room)
        if room > 0 or n < 1:
            return [self._suggest_one() for _ in range(min(n, room))]
        if pending >= MOST_PENDING:
            raise CannotSuggest(
                f"{pending} suggestions are out, the most there may be: ingest observations that name theirs in "
                "suggestion_id, and abandon those that will not be measured"
            )
        raise CannotSuggest(
            f"with {len(self._log.observations)} observations and {pending} suggestions that are out this agent is "
            "full: go on with a new one on a part of the space, or with a PathAgent"
        )

    def ingest(self, observations: Sequence[Observation]) -> None:
        """See `messages.Agent`."""
        if not self._log.ingest(observations):
            return
        if self.options.training == "inline" and (training := self.training_due()) is not None:
            self.adopt(training.run())
        elif self._surrogate is not None:
            self._condition(self._surrogate)

    def abandon(self, suggestion_ids: Sequence[str]) -> None:
        """See `messages.Agent`."""
        self._log.abandon(suggestion_ids)
        if self._surrogate is not None:
            self._condition(self._surrogate)

    def training_due(self) -> Training | None:
        """A job whose outcome is to be adopted, if it is time for one; each is handed out once."""
        n = len(self._log.observations)
        # One point of the start is still out when the first one after it is asked for.
        if n < max(3, self.options.start_points - 1, RETRAIN_GROWTH * self._trained_on):
            return None
        self._trained_on = n
        self._since = []
        return Training(
            space=self._space,
            options=self.options,
            candidates=self._positions,
            references=self._references,
            data=self._data(),
            pending=self._space.to_unit(self._log.pending_positions()),
            place=self._log.place(),
            before=None if self._surrogate is None else self._surrogate.hyperparameters,
            points_left=self._points_left(),
            seconds_left=float("inf") if self.options.beam_time_s is None else self.options.beam_time_s - self._seconds,
        )

    def adopt(self, trained: Trained) -> None:
        """Believe, and go, by `trained` from now on; what came in and went out since it began is kept."""
        self._use(trained.surrogate)
        self._adopted_on = self._trained_on
        if not self._knows_the_end:
            return
        self._start = []
        tour = trained.tour
        if self._since and len(tour):
            tour = tour[without_nearest(self._space, self._positions[tour], np.array(self._since))]
            tour = tour[path_through(self._space, self._positions[tour], self._log.place(), kicks=0)]
        self._tour = tour.tolist()

    def learned(self) -> Learned | None:
        """What it goes by now besides what it was told; None before a surrogate was asked."""
        if self._surrogate is None:
            return None
        believed = self._surrogate.hyperparameters
        return Learned(self.surrogate_version, self._adopted_on, believed, tuple(self._tour))

    def posterior(self) -> Posterior:
        """The map as the agent believes it to be, at its candidates."""
        surrogate = self._ready()
        return Posterior(self._positions, surrogate.mean, surrogate.sigma)

    def _suggest_one(self) -> Suggestion:
        if self._start:
            return self._put_out(self._start.pop(0), float("nan"), 0, "start")
        surrogate, reason = self._ready(), PLANNED
        if self._tour:
            best = self._tour.pop(0)
        else:
            reason = self.options.acquisition
            best = int(np.argmax(ACQUISITIONS[reason](self._outlook(surrogate))))
        return self._put_out(self._positions[best], float(surrogate.sigma[best]), self.surrogate_version, reason)

    def _put_out(self, position: NDArray[np.float64], sigma: float, version: int, reason: str) -> Suggestion:
        out = Suggestion(
            id=self._new_id(),
            position=self._space.mapping(position),
            sigma=sigma,
            surrogate_version=version,
            observations=len(self._log.observations),
            pending=len(self._log.pending),
            acquisition=reason,
        )
        self._is_out(out, position)
        if self._surrogate is not None:
            self._condition(self._surrogate)
        return out

    def _is_out(self, suggestion: Suggestion, position: NDArray[np.float64]) -> None:
        place = self._log.place()
        self._seconds += self._each + (0.0 if place is None else float(self._space.travel_s(place, position)))
        self._since.append(position)
        self._log.put_out(suggestion)

    def _relive(self, one: Past) -> None:
        if isinstance(one, Suggestion):
            self._recall(one)
        elif isinstance(one, Observation):
            self._log.ingest([one])
        elif isinstance(one, Abandoned):
            self._log.abandon(one.suggestion_ids)
        else:
            self._relearn(one)

    def _recall(self, suggestion: Suggestion) -> None:
        taken_from = self._start if suggestion.acquisition == "start" else self._tour
        if suggestion.acquisition in ("start", PLANNED) and taken_from:
            taken_from.pop(0)
        number = suggestion.id.removeprefix(f"{self._name}-")
        if number.isascii() and number.isdigit():  # where a part of the past is lost, no id is given twice
            self._number = max(self._number, int(number))
        self._is_out(suggestion, self._space.array(suggestion.position))

    def _relearn(self, learned: Learned) -> None:
        if not all(0 <= number < len(self._positions) for number in learned.tour):
            raise ValueError(f"a tour through candidates that are none of the {len(self._positions)} of this space")
        self._tour = list(learned.tour)
        self._trained_on = self._adopted_on = learned.trained_on
        if self._knows_the_end and learned.trained_on:
            self._start = []

    @property
    def _knows_the_end(self) -> bool:
        return self.options.points is not None or self.options.beam_time_s is not None

    def _points_left(self) -> int:
        if self.options.points is not None:
            return max(0, self.options.points - len(self._log.observations) - len(self._log.pending))
        return 0 if self.options.beam_time_s is None else MOST_PLANNED

    def _outlook(self, surrogate: Surrogate) -> Outlook:
        place = self._log.place()
        travel = 0.0 if place is None else self._space.travel_s(place, self._positions)
        return Outlook(
            variance=surrogate.variance,
            noise=surrogate.usual_noise(),
            seconds=np.broadcast_to(travel + self._each, len(self._positions)),
            covariance=lambda: surrogate.covariance(self._references),
        )

    def _ready(self) -> Surrogate:
        """The surrogate; before the first training, one with what is believed beforehand."""
        if self._surrogate is None:
            self._use(Surrogate(self._unit, untrained(self._data())))
        assert self._surrogate is not None
        return self._surrogate

    def _use(self, surrogate: Surrogate) -> None:
        self._condition(surrogate)
        self._surrogate = surrogate
        self.surrogate_version += 1

    def _data(self) -> Data:
        return Data(self._space.to_unit(self._log.positions()), *self._log.values())

    def _condition(self, surrogate: Surrogate) -> None:
        surrogate.condition(self._data(), self._space.to_unit(self._log.pending_positions()))

    def _new_id(self) -> str:
        while True:
            self._number += 1
            if not self._log.knows(name := f"{self._name}-{self._number}"):
                return name
