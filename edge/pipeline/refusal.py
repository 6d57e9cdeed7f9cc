"""Why a route cannot take an image, known before a pixel of it is decompressed."""

import numpy as np

from edge.models.spec import ANY
from edge.pipeline.dispatch import RouteRunner
from streams.messages import Frame


def refusal_of(frame: Frame, runner: RouteRunner, unconditioned: str = "") -> tuple[str, str] | None:
    """(reason, detail) where the route's model cannot take `frame`, None where it can.

    Args:
        frame: as routes see it, conditioned.
        runner: the route's.
        unconditioned: why it could not be conditioned; "" where it could.
    """
    if unconditioned:
        return "conditioning", unconditioned
    spec = runner.spec
    dtype = np.dtype(frame.dtype)
    if dtype.kind != "u" and dtype.name != "int32":  # int32 is read as uint32: flags are negative, counts are not
        return "wrong_dtype", f"model {spec.name} takes unsigned counts, the frames are {dtype.name}"
    if dtype.itemsize not in runner.model.itemsizes:
        served = " or ".join(str(8 * size) for size in runner.model.itemsizes)
        return "wrong_dtype", (
            f"route {runner.route.name} serves {served} bits a pixel, the frames have {8 * dtype.itemsize}; "
            "add that to pixel_bits of the route"
        )
    nothing = runner.selection.refusal(frame.shape)
    if nothing is not None:
        return "conditioning", f"route {runner.route.name}: {nothing}"
    return _shape_refusal(runner.selection.shape(frame.shape), runner)


def _shape_refusal(shape: tuple[int, int], runner: RouteRunner) -> tuple[str, str] | None:
    spec = runner.spec
    if any(want not in (ANY, have) for want, have in zip(spec.frame_shape, shape, strict=True)):
        height, width = spec.frame_shape
        return "wrong_shape", (
            f"model {spec.name} takes frames of {height} x {width} pixels, these have {shape[0]} x {shape[1]}; set "
            f"region or binning of route {runner.route.name} or the detector's region of interest, or use a model for "
            "this size"
        )
    if not runner.outputs.capacity(shape):
        return "too_large", (
            f"what {spec.name} answers for a frame of {shape[0]} x {shape[1]} does not fit the memory of "
            f"route {runner.route.name}; set its output_mib higher"
        )
    return None
