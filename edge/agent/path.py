"""Paths that are known beforehand, and an agent that suggests them: what an adaptive agent has to beat."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.agent.log import Log
from edge.agent.messages import Observation, Suggestion
from edge.agent.space import MOST_POSITIONS, Space
from edge.agent.tour import shortest_path


def snake_raster(space: Space, rows: int, columns: int) -> NDArray[np.float64]:
    """Lines along the first of two axes, every other one backwards: [rows * columns, 2], edges included.

    `rows` positions on the second axis, `columns` on the first; a single one lies in the middle.
    """
    if len(space.axes) != 2 or rows < 1 or columns < 1:
        raise ValueError(f"a raster needs two axes and 1 or more of each, not {rows} x {columns} on {len(space.axes)}")
    along, across = _steps(columns), _steps(rows)
    ways = (along, along[::-1])
    lines = [np.column_stack([ways[at % 2], np.full(columns, height)]) for at, height in enumerate(across)]
    return space.from_unit(np.concatenate(lines))


def _steps(count: int) -> NDArray[np.float64]:
    return np.linspace(0, 1, count) if count > 1 else np.array([0.5])


def sobol_tour(space: Space, n: int, seed: int) -> NDArray[np.float64]:
    """`n` Sobol points [n, axes] in the order of a short path, from the end that is nearer to the low limits."""
    points = space.sobol(n, seed)
    return from_low_end(space, points[shortest_path(space.travel_s(points[:, None], points[None]))])


def from_low_end(space: Space, path: NDArray[np.float64]) -> NDArray[np.float64]:
    """`path` [n, axes], turned round where its last point is nearer to the low limits than its first."""
    if len(path) < 2:
        return path
    ends = space.travel_s(space.low, path[[0, -1]])
    return path if ends[0] <= ends[1] else path[::-1].copy()


class PathAgent:
    """Suggests given positions in their order, whatever is observed."""

    def __init__(self, space: Space, positions: ArrayLike, name: str = "path") -> None:
        """`positions` [n, axes]. Raises ValueError where one is outside the space, or there are too many."""
        if len(given := np.asarray(positions, dtype=np.float64)) > MOST_POSITIONS:
            raise ValueError(f"a path of {len(given)} positions: at most {MOST_POSITIONS} are possible")
        low, high = space.low, space.high
        checked = [space.array(space.mapping(position)) for position in given]
        self._name = name
        self._positions = [space.mapping(np.clip(position, low, high)) for position in checked]
        self._next = 0
        self._log = Log(space, MOST_POSITIONS)

    @property
    def observations(self) -> tuple[Observation, ...]:
        return self._log.observations

    def suggest(self, n: int = 1) -> list[Suggestion]:
        """The next `n` of the path; fewer, then none, at its end."""
        made = []
        for position in self._positions[self._next : self._next + n]:
            out = Suggestion(
                id=f"{self._name}-{self._next + 1}",
                position=position,
                sigma=float("nan"),
                surrogate_version=0,
                observations=len(self._log.observations),
                pending=len(self._log.pending),
                acquisition="path",
            )
            self._next += 1
            self._log.put_out(out)
            made.append(out)
        return made

    def ingest(self, observations: Sequence[Observation]) -> None:
        """See `messages.Agent`."""
        self._log.ingest(observations)

    def abandon(self, suggestion_ids: Sequence[str]) -> None:
        """See `messages.Agent`. An abandoned position is not suggested again."""
        self._log.abandon(suggestion_ids)
