"""How well a version of the ptychography model explains the frames of a scan, without any truth."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.inference.repository import GRAPH_FILE
from edge.models.ptycho import GEOMETRY
from edge.models.spec import SENTINELS
from edge.physics.deviance import frame_deviance, framed
from edge.physics.probe import load_probe, probe_intensity
from edge.scanfiles import Scan
from edge.training.figures import Run, graph_run

PROBE_FILE = "probe.npy"


class VersionError(ValueError):
    """A file of a version is damaged; the message names it."""


FLAG = 65535
"""In frames of two bytes a pixel, which the graphs take."""


def deviances(version: Path, model: str, scan: Scan, chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """Mean Poisson deviance a pixel of each of the `chosen` frames, [n], by the version's own probe, without flags.

    Raises OSError where the version lacks its probe or graph, VersionError where one is damaged, ScanFileError where a
    frame cannot be read.
    """
    geometry = GEOMETRY[model]
    modes, run = _probe(version, geometry.frame_px), _graph(version)
    middle = slice(geometry.offset_px, geometry.offset_px + geometry.patch_px)
    weight = probe_intensity(modes)[middle, middle]
    found = np.empty(len(chosen))
    for at, index in enumerate(chosen):
        counts = scan.frame(int(index))
        measured = counts < SENTINELS[counts.itemsize]
        answer = run(np.where(measured, np.minimum(counts, FLAG - 2), FLAG).astype(np.uint16))
        patch = answer["amplitude"] * np.exp(1j * answer["phase"])
        whole = framed(patch, weight, geometry.frame_px, geometry.offset_px)
        found[at] = frame_deviance(counts.astype(np.float64), modes, whole, measured)
    return found


def _probe(version: Path, frame_px: int) -> NDArray[np.complex64]:
    try:
        modes = load_probe(version / PROBE_FILE)
    except ValueError as error:
        raise VersionError(f"{version / PROBE_FILE} cannot be read ({error})") from error
    if modes.shape[1:] != (frame_px, frame_px):
        raise VersionError(f"{version / PROBE_FILE} holds {modes.shape[1:]} pixels, the model takes {frame_px}")
    return modes


def _graph(version: Path) -> Run:
    """Of the errors of ONNX Runtime those are meant that a damaged file makes."""
    from onnxruntime.capi import onnxruntime_pybind11_state as ort  # pyright: ignore[reportAttributeAccessIssue]

    path = version / GRAPH_FILE
    damaged = (ort.InvalidArgument, ort.InvalidProtobuf, ort.InvalidGraph, ort.Fail, ort.NotImplemented)
    path.stat()  # that it is absent is said as of any file
    try:
        return graph_run(path)
    except damaged as error:
        raise VersionError(f"{path} is no graph ({error})") from error
