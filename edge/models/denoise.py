"""`denoise`: the counts that a frame would have on average, from the one frame that was counted.

* In: any number of rows and columns of photon counts. Flagged pixels are not looked at, and neither are single pixels
  far above all their neighbours.
* Out: `expected`, an estimate of the expected counts of every pixel, and `variance`, the expected square of that
  estimate's own error (not of counts: another frame of the same sample scatters by `expected` + `variance`). What falls
  on flagged pixels is guessed from those around: a picture without holes, not a measurement.
* Errors of pixels close to each other are alike: the variance of a sum over pixels is not the sum of the variances.
* A pixel takes some 300 bytes of working memory and 2 to 3 microseconds of one core: a frame of 3888 x 3072 takes 4 GB
  and half a minute. A route's `region` or `binning` makes frames smaller, a GPU the time short.
* For photon counters alone: the noise is taken to be Poisson's. Integrating detectors need their gain divided out.
"""

from edge.models.spec import ANY, ModelSpec, TensorSpec

SPEC = ModelSpec(
    name="denoise",
    frame_shape=(ANY, ANY),
    outputs=(
        TensorSpec("expected", "float32", (ANY, ANY), "counts"),
        TensorSpec("variance", "float32", (ANY, ANY), "counts^2"),
    ),
    max_batch=4,  # some 300 bytes of working memory a pixel: a batch of large frames fills a machine
)
