"""The surrogate: a Gaussian process that is known at a fixed set of candidates and grows row by row.

With K the covariance of the rows (observations and pending positions) and L L^T = K + noise, kept are W = L^-1 and the
projections V = W k(rows, candidates). Then (Rasmussen & Williams 2006, eqs. 2.25 and 2.26)

    mean = V^T W values        variance = 1 - column sums of V^2

and b more rows cost O(b N (N + M)), M candidates: with l = W k(rows, new) and C C^T = k(new, new) + noise - l^T l

    W gains [-C^-1 l^T W, C^-1]        V gains C^-1 (k(new, candidates) - l^T V).

Keeping L^-1 rather than L makes every step a matrix product, which needs no copy of a padded array and lets other
threads run. Rows are a function of what is asked for, and of nothing else: whatever came late, was replaced or was
abandoned, the rows that differ and those after them are cut off and appended anew.
"""

import numpy as np
from numpy.typing import NDArray

from edge.agent.hyperparameters import Data, Hyperparameters
from edge.agent.kernel import correlation

Float = NDArray[np.float64]

FIRST_CAPACITY = 64
BLOCK = 64
"""Rows appended at once: large enough for fast matrix products, small enough to take milliseconds."""


class Surrogate:
    """A Gaussian process at `candidates` [M, axes] (unit coordinates). Everything it holds is in units of its scale."""

    def __init__(self, candidates: Float, hyperparameters: Hyperparameters) -> None:
        self.candidates = candidates
        self.hyperparameters = hyperparameters
        self._lengths = np.array(hyperparameters.lengths)
        self._count = 0  # rows, of which the first `_observed` have a value
        self._observed = 0
        self._positions = np.empty((0, candidates.shape[1]))
        self._noise = np.empty(0)
        self._inverse = np.zeros((0, 0))
        self._projection = np.empty((0, len(candidates)))
        self._known = np.ones(len(candidates))  # variance given the observed rows
        self._variance = self._known
        self._mean = np.zeros(len(candidates))
        self._prior_at: NDArray[np.intp] | None = None
        self._prior: Float | None = None  # what `covariance` begins with; it never changes

    @property
    def mean(self) -> Float:
        """Of the values at the candidates, [M], in their units."""
        return self.hyperparameters.mean + self.hyperparameters.scale * self._mean

    @property
    def sigma(self) -> Float:
        """Standard deviation of the noiseless value at the candidates, [M], units of the values; pending count."""
        return self.hyperparameters.scale * np.sqrt(self._variance)

    @property
    def variance(self) -> Float:
        """Its square in units of the scale's square: 1 where nothing is known."""
        return self._variance

    def condition(self, data: Data, pending: Float) -> None:
        """Make the rows `data`, then `pending` [p, axes]: positions that will be observed, with the usual noise."""
        noise = data.variances / self.hyperparameters.scale**2 + self.hyperparameters.white
        keep = self._same(data.positions, noise)
        self._truncate(keep)
        for start in range(keep, len(data), BLOCK):
            self._append(data.positions[start : start + BLOCK], noise[start : start + BLOCK])
        self._observed = self._count
        if self._observed > keep:
            self._known = self._known - _column_squares(self._projection[keep : self._count])
        self._mean = self._projected(data.values)
        self._variance = self._known
        if len(pending):
            self._append(pending, np.full(len(pending), np.median(noise) if len(noise) else self.hyperparameters.white))
            self._variance = self._known - _column_squares(self._projection[self._observed : self._count])
        # Rounding may take what is exactly known a little below nothing.
        self._variance = np.maximum(self._variance, 0.0)

    def imagine(self, candidate: int) -> Float:
        """One more pending row, until `condition` is called again: the candidate number `candidate`.

        Returns its projection [M]: the covariance of any two candidates i, j has become smaller by row[i] * row[j].
        """
        self._append(self.candidates[candidate : candidate + 1], np.array([self.usual_noise()]))
        row = self._projection[self._count - 1]
        self._variance = np.maximum(self._variance - row * row, 0.0)
        return row

    def usual_noise(self) -> float:
        """Variance of an observation to come, besides the surrogate's own: the median of those at hand."""
        known = self._noise[: self._observed]
        return float(np.median(known)) if len(known) else self.hyperparameters.white

    def covariance(self, at: NDArray[np.intp]) -> Float:
        """Of the candidates number `at` [r] with all candidates, given all rows: [r, M]."""
        if self._prior is None or self._prior_at is not at:
            self._prior_at, self._prior = at, correlation(self.candidates[at], self.candidates, self._lengths)
        rows = self._projection[: self._count]
        return self._prior - rows[:, at].T @ rows

    def _same(self, positions: Float, noise: Float) -> int:
        """How many of the observed rows begin `positions` with this noise."""
        n = min(self._observed, len(positions))
        equal = (self._positions[:n] == positions[:n]).all(axis=1) & (self._noise[:n] == noise[:n])
        return n if equal.all() else int(np.argmin(equal))

    def _truncate(self, rows: int) -> None:
        if rows < self._observed:
            self._known = 1.0 - _column_squares(self._projection[:rows])
        self._count = self._observed = rows

    def _projected(self, values: Float) -> Float:
        n = self._observed
        standard = (values - self.hyperparameters.mean) / self.hyperparameters.scale
        return (self._inverse[:n, :n] @ standard) @ self._projection[:n]

    def _append(self, positions: Float, noise: Float) -> None:
        n, more = self._count, len(positions)
        self._reserve(n + more)
        old, new = slice(0, n), slice(n, n + more)
        inverse, projection = self._inverse[old, old], self._projection[old]
        known = inverse @ correlation(self._positions[old], positions, self._lengths)
        rest = correlation(positions, positions, self._lengths) + np.diag(noise) - known.T @ known
        # Never singular: the eigenvalues of `rest` are at least the least noise, which WHITE_FLOOR keeps far above
        # the rounding error, however often a position is repeated.
        corner = np.tril(np.linalg.inv(np.linalg.cholesky(rest)))
        self._inverse[new, old] = -corner @ (known.T @ inverse)
        self._inverse[new, new] = corner
        self._projection[new] = corner @ (correlation(positions, self.candidates, self._lengths) - known.T @ projection)
        self._positions[new] = positions
        self._noise[new] = noise
        self._count = n + more

    def _reserve(self, rows: int) -> None:
        """Capacity doubles, so that a row costs no copy of all before it."""
        before = len(self._noise)
        if rows <= before:
            return
        capacity = max(2 * before, FIRST_CAPACITY, rows)
        n = self._count
        for name, shape in (
            ("_positions", (capacity, self.candidates.shape[1])),
            ("_noise", (capacity,)),
            ("_projection", (capacity, len(self.candidates))),
        ):
            grown = np.empty(shape)
            grown[:n] = getattr(self, name)[:n]
            setattr(self, name, grown)
        inverse = np.zeros((capacity, capacity))
        inverse[:n, :n] = self._inverse[:n, :n]
        self._inverse = inverse


def _column_squares(rows: Float) -> Float:
    return np.einsum("ij,ij->j", rows, rows)
