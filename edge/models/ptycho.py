"""`ptycho`, `ptycho64`: the complex patch of the object under the beam, from one far-field image.

In one pass and without positions, as PtychoNN does (Cherukara et al., Appl. Phys. Lett. 117, 044103, 2020, doi
10.1063/5.0013065), but the graph knows the probe: it carries a frame back through it, corrects by a network, compares
with the frame, and corrects again. How to read it:

* In: counts of 128 x 128 (`ptycho`) or 64 x 64 pixels (`ptycho64`), the beam in the centre of the image
  (`fftshift`ed) as in training. Flagged pixels are left out; hot ones must be flagged. Frames of more pixels are
  cropped around the beam, which keeps the field of view in the object and makes its pixel larger (`object_pixel_m`);
  binning would keep the pixel and shrink the field of view.
* Out: the middle of the patch under the probe, `patch_px` pixels wide. If a position is the (row, col) of the full
  patch's first pixel, the output's first pixel lies at that position + `offset_px`.
* A far field does not know the phase's constant: the output's probe-weighted mean is zero, whatever the object's.
  Neighbouring patches are brought together where they overlap. Amplitude 1 is transparent.
* Where the probe is dark the output is a guess: weigh it by the probe's intensity.
* `deviance` says how badly the output explains the frame: the Poisson deviance a pixel (`edge.physics.deviance`) over
  the central `crop_px` pixels of the frame, about 1 or less where only counting noise is left. Fewer photons give a
  smaller deviance and a larger error: compare frames of one exposure. A frame that tells nothing, with fewer than
  `LEAST_FLUX` of the probe's photons in the part that is computed with or more than half of that part flagged, gets
  `UNTOLD`: a beam that is off explains itself perfectly. It is a number and no NaN, so that "deviance above 3" is true
  of it as "deviance below 3" is false.
* The deviance needs no truth, so it cannot see what no frame tells: the phase's constant, a slope of the phase against
  a beam that is off centre, the scale between probe and object, a twin image where the probe lets one pass, or a probe
  that is wrong in a way which the object makes up for.
"""

from typing import NamedTuple

from edge.models.spec import ModelSpec, TensorSpec

UNTOLD = 1e4
"""`deviance` of a frame that tells nothing: hundreds of times that of a constant guess for a measured frame."""

LEAST_FLUX, LEAST_MEASURED = 0.015, 0.5
"""Of a frame that tells something: photons, as a share of those that the probe gives (none learned from had fewer), and
measured pixels, as a share of all. Both in the part that is computed with."""


class Geometry(NamedTuple):
    """Sizes of one of the models, all square, pixels."""

    frame_px: int  # of the detector image, and of the full patch of the object
    crop_px: int  # of the part of the image that is computed with
    patch_px: int  # of the output

    @property
    def offset_px(self) -> int:
        """From the full patch's first pixel to the output's, in rows and in columns."""
        return (self.frame_px - self.patch_px) // 2


WIDE, NARROW = Geometry(128, 96, 96), Geometry(64, 64, 48)
FRAME_PX, CROP_PX, PATCH_PX = WIDE
OFFSET_PX = WIDE.offset_px


def _spec(name: str, geometry: Geometry) -> ModelSpec:
    return ModelSpec(
        name=name,
        frame_shape=(geometry.frame_px, geometry.frame_px),
        outputs=(
            TensorSpec("amplitude", "float32", (geometry.patch_px, geometry.patch_px), "1"),
            TensorSpec("phase", "float32", (geometry.patch_px, geometry.patch_px), "rad"),
            TensorSpec("deviance", "float32", (1,), "1"),
        ),
        max_batch=16,
    )


SPEC, SPEC64 = _spec("ptycho", WIDE), _spec("ptycho64", NARROW)
GEOMETRY = {SPEC.name: WIDE, SPEC64.name: NARROW}
"""By the model's name."""


def object_pixel_m(wavelength_m: float, distance_m: float, frame_px: int, detector_pixel_m: float) -> float:
    """Pixel of the object in metres for far fields of `frame_px` pixels: wavelength x distance / (pixels x pixel size).

    After binning, `detector_pixel_m` is that of the binned pixel. Raises ValueError where a length is not positive.
    """
    if min(wavelength_m, distance_m, frame_px, detector_pixel_m) <= 0:
        raise ValueError("wavelength, distance, pixels and their size must be positive")
    return wavelength_m * distance_m / (frame_px * detector_pixel_m)
