"""`ptycho`: the complex patch of the object under the beam, from one far-field image.

After PtychoNN (Cherukara et al., Appl. Phys. Lett. 117, 044103, 2020, doi 10.1063/5.0013065), in one pass and without
positions. How to read it:

* In: 128 x 128 counts, the beam in the centre of the image (`fftshift`ed) as in training: a beam one pixel off more
  than doubles the error. The graph crops the central 96 x 96 pixels,
  which hold 99.8 % of the counts, and normalises to their sum. It does not bin: the field of view in the object stays
  the full 128 pixels of the scan, and the pixel of the output is the pixel of the scan positions,
  wavelength x distance / (128 x detector pixel).
* Out: the central 80 x 80 pixels of the 128 x 128 patch under the probe. If a position is the (row, col) of the full
  patch's first pixel, the output's first pixel lies at that position + `OFFSET_PX`.
* A far field does not know the phase's constant: the output's probe-weighted mean is about zero, whatever the object's.
  Neighbouring patches are brought together where they overlap. Amplitude 1 is transparent.
* Where the probe is dark the output is a guess: weigh it by the probe's intensity.
"""

from edge.models.spec import ModelSpec, TensorSpec

FRAME_PX = 128
CROP_PX = 96
PATCH_PX = 80
OFFSET_PX = (FRAME_PX - PATCH_PX) // 2

SPEC = ModelSpec(
    name="ptycho",
    frame_shape=(FRAME_PX, FRAME_PX),
    outputs=(
        TensorSpec("amplitude", "float32", (PATCH_PX, PATCH_PX), "1"),
        TensorSpec("phase", "float32", (PATCH_PX, PATCH_PX), "rad"),
    ),
    max_batch=16,
)
