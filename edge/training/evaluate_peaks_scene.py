"""Summed intensities on the Bragg scene, whose map is known."""

import numpy as np

from edge.models.peaks import bragg_intensity
from edge.physics.bragg import bragg_sample, camera
from edge.training.figures import Lines, Run

SHAPE = (256, 256)
EXPOSURE_S, FRAMES_A_POINT = 0.025, 4
FIRST_SEED = 4100


def scene(run: Run, samples: int = 6, points: int = 40) -> Lines:
    """Summed intensities of the Bragg scene against the truth of the map, dim to bright."""
    truth, measured, sigma = [], [], []
    for seed in range(FIRST_SEED, FIRST_SEED + samples):
        rng = np.random.default_rng(seed)
        sample, detector = bragg_sample(seed), camera(SHAPE, seed)
        for x, y in rng.uniform(0, 1, (points, 2)):
            expected = sample.expected(x, y, SHAPE)
            sums = [
                bragg_intensity(run(detector.expose(expected, EXPOSURE_S, 1.0, rng))) for _ in range(FRAMES_A_POINT)
            ]
            truth.append(float(sample.total(x, y)) * EXPOSURE_S * FRAMES_A_POINT)
            measured.append(sum(one for one, _ in sums))
            sigma.append(np.sqrt(sum(variance for _, variance in sums)))
    order = np.argsort(truth)
    wanted, got, stated = (np.array(one)[order] for one in (truth, measured, sigma))
    full = wanted.max()
    rows = []
    for share in np.array_split(np.arange(len(wanted)), 5):
        off = got[share] - wanted[share]
        rows.append(
            {
                "true counts": f"{wanted[share[0]]:.0f}..{wanted[share[-1]]:.0f}",
                "points": len(share),
                "bias counts": float(np.mean(off)),
                "bias % of the brightest": 100 * float(np.mean(off)) / full,
                "spread counts": float(np.std(off)),
                "stated sigma": float(np.sqrt(np.mean(stated[share] ** 2))),
            }
        )
    return rows
