"""`denoise`: the counts that a frame would have on average, from the one frame that was counted.

* In: any number of rows and columns of photon counts. Flagged pixels are not looked at, and neither are single pixels
  far above all their neighbours.
* Out: an estimate of the expected counts of every pixel. What falls on flagged pixels is guessed from those around: a
  picture without holes, not a measurement. The sum over good pixels is kept to about a percent, not exactly.
* For photon counters alone: the noise is taken to be Poisson's. Integrating detectors need their gain divided out.
"""

from edge.models.spec import ANY, ModelSpec, TensorSpec

SPEC = ModelSpec(
    name="denoise",
    frame_shape=(ANY, ANY),
    outputs=(TensorSpec("expected", "float32", (ANY, ANY), "counts"),),
    max_batch=16,
)
