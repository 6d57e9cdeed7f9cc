"""What the simulated detector looks at."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.physics.bragg import bragg_sample, camera

Render: TypeAlias = Callable[[float, float, float, float, np.random.Generator], NDArray[Any]]
"""(x mm, y mm, exposure s, relative beam, noise) to one image [height, width]."""


@dataclass(frozen=True)
class Scene:
    """Images of a known shape (height, width) and pixel type ("uint16")."""

    shape: tuple[int, int]
    dtype: str
    render: Render


def bragg_scene(sample_seed: int) -> Scene:
    """A polycrystalline sample on the stage, before a camera with gaps, dead and hot pixels."""
    sample, eye = bragg_sample(sample_seed), camera()
    height, width = eye.mask.shape

    def render(x: float, y: float, exposure_s: float, beam: float, rng: np.random.Generator) -> NDArray[Any]:
        return eye.expose(sample.expected(x, y, (height, width)), exposure_s, beam, rng)

    render(0.0, 0.0, 0.01, 1.0, np.random.default_rng(0))  # the first one is slow; it should not be a client's
    return Scene((height, width), "uint16", render)
