"""Positions in a table: a row an image, or with a column of image ids."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from streams.positions.headers import AxisOf, Known, Missing, Verdict, Why, finite


class PositionTable:
    """The positions of one series.

    Args:
        axes: names and scales; the path is not used here.
        columns: by axis name, float64 [n].
        ids: image id of each row, int64 [n]; None: row i is image i.

    Raises:
        ValueError: the columns differ in length, or an id comes twice.
    """

    def __init__(
        self, axes: Sequence[AxisOf], columns: Mapping[str, NDArray[np.float64]], ids: NDArray[np.int64] | None = None
    ) -> None:
        lengths = {name: len(column) for name, column in columns.items()} | ({} if ids is None else {"ids": len(ids)})
        if len(set(lengths.values())) != 1:
            raise ValueError("columns of different lengths: " + ", ".join(f"{k} has {n}" for k, n in lengths.items()))
        self._axes = axes
        self._columns = [columns[axis.name] for axis in axes]
        self._rows = next(iter(lengths.values()))
        self._ids: NDArray[np.int64] | None = None
        if ids is not None:
            order = np.argsort(ids, kind="stable")
            self._ids = ids[order]
            self._columns = [column[order] for column in self._columns]
            again = self._ids[1:][np.diff(self._ids) == 0]
            if len(again):
                raise ValueError(f"image id {int(again[0])} comes twice")

    def position(self, image_id: int) -> Verdict:
        """The position of one image."""
        row = self._row(image_id)
        if row is None:
            return Missing(Why.BEYOND)
        position: dict[str, float] = {}
        for axis, column in zip(self._axes, self._columns, strict=True):
            value = finite(axis.value(float(column[row])))
            if value is None:
                return Missing(Why.NOT_FINITE)
            position[axis.name] = value
        return Known(position)

    def _row(self, image_id: int) -> int | None:
        if self._ids is None:
            return image_id if 0 <= image_id < self._rows else None
        at = int(np.searchsorted(self._ids, image_id))
        return at if at < self._rows and self._ids[at] == image_id else None
