"""JUNGFRAU: from ADU in one of three gains to photons.

A raw pixel has 16 bits: 15:14 are the gain (00 G0, 01 G1, 11 G2; 10 does not exist), 13:0 the ADC's value.

    energy [keV] = (ADU - pedestal[gain] [ADU]) / gain[gain] [ADU/keV]
    photons      = energy / photon energy, rounded to the nearest, at least 0

(S. Redford et al., "First full dynamic range calibration of the JUNGFRAU photon detector", JINST 13 C01027, 2018.)
In G1 and G2 the ADC's value falls with the charge, so gains of G1 and G2 are negative and a G2 pixel at 0 is saturated.
All bits set is what the receiver writes where a packet was lost. Both are flagged bad, as are pixels whose gain is
0 or not finite in the map: always where that is G0's, in the other gains when a pixel switched to them.

The photons are uint16: a pixel holds about 10^4 photons of 12 keV, so 65533 is out of reach above 2 keV, and a frame
keeps the size and the model variant that it had.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.conditioning.errors import ConditioningError
from edge.conditioning.flags import flags_of

GAIN_SHIFT = 14
ADC_BITS = 0x3FFF
SATURATED = 0xC000
LOST = 0xFFFF
ABSURD = 1e6
"""Photons per ADU, or ADU of pedestal, that no pixel has."""

BLOCK = 65536
"""Pixels that go through at a time: what lies in between stays in the processor's cache."""


class Jungfrau:
    """Converts raw images to photons.

    Args:
        pedestal: [3, height, width], or [modules, 3, height, width]; ADU of G0, G1, G2.
        gain: the same shape; ADU/keV.
        photon_energy_kev: of the beam.

    Raises:
        ConditioningError: the maps are of another shape.
    """

    def __init__(self, pedestal: NDArray[Any], gain: NDArray[Any], photon_energy_kev: float) -> None:
        if pedestal.shape != gain.shape or pedestal.ndim not in (3, 4) or pedestal.shape[-3] != 3:
            raise ConditioningError(
                f"pedestal of shape {list(pedestal.shape)} and gain of shape {list(gain.shape)}: both must be "
                "[3, height, width] (gains G0, G1, G2), or [modules, 3, height, width]"
            )
        self.modules = pedestal.shape[0] if pedestal.ndim == 4 else 1
        self.shape = (int(pedestal.shape[-2]), int(pedestal.shape[-1]))
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = 1 / (gain.astype(np.float64) * photon_energy_kev)
            usable = (np.abs(scale) < ABSURD) & (np.abs(pedestal) < ABSURD)  # neither where not finite
        self._pedestal = _by_gain(np.where(usable, pedestal, 0), 0.0)
        self._scale = _by_gain(np.where(usable, scale, np.nan), np.nan)
        self._scale0 = np.nan_to_num(self._scale[0])
        self._unusable = np.flatnonzero(np.isnan(self._scale[0]))
        self._flags = flags_of("uint16")
        # numpy is fastest with arrays of one type on both sides, without `where`
        self._none = np.zeros(BLOCK, np.float32)
        self._largest = np.full(BLOCK, self._flags.largest, np.float32)

    def apply(self, pixels: NDArray[np.unsignedinteger]) -> None:
        """Convert an image in place, raw to photons; `pixels` is flat, uint16.

        Allocates a block, and more for the pixels in other gains than G0, which are few. Several threads may at once.
        """
        block = np.empty(BLOCK, np.float32)
        for start in range(0, pixels.size, BLOCK):
            raw = pixels[start : start + BLOCK]
            switched = values = None
            if raw.max() > ADC_BITS:
                switched = np.flatnonzero(raw > ADC_BITS)
                values = self._of_switched(raw[switched], start + switched)
            photons = block[: raw.size]
            np.copyto(photons, raw)
            np.subtract(photons, self._pedestal[0, start : start + BLOCK], out=photons)
            np.multiply(photons, self._scale0[start : start + BLOCK], out=photons)
            np.rint(photons, out=photons)
            np.maximum(photons, self._none[: raw.size], out=photons)
            np.minimum(photons, self._largest[: raw.size], out=photons)
            np.copyto(raw, photons, casting="unsafe")
            if switched is not None:
                raw[switched] = values
        pixels[self._unusable] = self._flags.bad

    def _of_switched(self, raw: NDArray[np.unsignedinteger], at: NDArray[np.intp]) -> NDArray[np.uint16]:
        """Photons or flags of the pixels at `at` of the image."""
        gain = raw >> GAIN_SHIFT
        photons = ((raw & ADC_BITS) - self._pedestal[gain, at]) * self._scale[gain, at]
        bad = np.isnan(photons) | (raw == SATURATED) | (raw == LOST)
        counts = np.clip(np.rint(np.where(bad, 0, photons)), 0, self._flags.largest).astype(np.uint16)
        counts[bad] = self._flags.bad
        return counts


def _by_gain(maps: NDArray[Any], filler: float) -> NDArray[np.float32]:
    """[.., 3, height, width] as float32 [4, pixels], by the two gain bits: G0, G1, nothing, G2."""
    gains = np.moveaxis(maps, -3, 0).reshape(3, -1)
    table = np.full((4, gains.shape[1]), filler, np.float32)
    table[[0, 1, 3]] = gains
    return table
