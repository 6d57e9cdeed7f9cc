"""The request whose right answer is known. A model is ready only after it, through the real path.

`canary.npz` in a version folder holds, per item size, `u16_frame` [n, H, W] and the expected outputs
`u16_<output>` [n, ...], computed with ONNX Runtime when the model was made.
"""

import queue
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.inference.errors import CanaryError
from edge.inference.repository import CANARY_FILE, GRAPH_FILE
from edge.inference.requests import FRAME, Completion, Request, Span, Submitter
from edge.inference.shared_memory import Region
from edge.inference.telemetry import disable_telemetry
from edge.inference.variants import variant, without_byte
from edge.models.spec import ModelSpec

TOLERANCE = 1e-2
"""Absolute, for outputs of about 1: a GPU in TF32 or FP16 is off by up to this, a wrong byte order or mask by more."""

RELATIVE_TOLERANCE = 1e-3
"""For outputs far above 1, sums of counts for example."""

WIDEST_COUNT = 25_000_000
"""About the largest count in a canary of four bytes a pixel: above 2**24, so that the last byte matters."""

ANSWER_S = 60.0
SUSPECTS = "suspect numpy 2 in the server's environment, or a canary.npz that is not of this model.onnx"
UNWRITTEN = 0xA5
"""Fills the output memory beforehand, so that an output which the server never wrote is not right by chance."""

Arrays = Mapping[str, np.ndarray]


def make_canary(graph: bytes, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of `graph`, by name, for `frames` [n, H, W] of uint8, uint16 or uint32. Needs onnxruntime."""
    disable_telemetry()
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs: Sequence[Any] = session.run(names, {FRAME: as_bytes(frames)})
    return {name: np.asarray(array) for name, array in zip(names, outputs, strict=True)}


def write_canary(version_dir: Path, spec: ModelSpec, frames: np.ndarray) -> Path:
    """Write `canary.npz` beside `model.onnx` for all item sizes of `spec`, from `frames` uint8 [n, H, W].

    Wider variants get larger counts, so that every byte of a pixel matters, and flag values in a corner. Raises
    CanaryError where the expected outputs say nothing (all zero, or the same without one of the bytes) and
    ValueError for wrong frames.
    """
    if frames.dtype != np.uint8 or frames.ndim != 3 or not 1 <= len(frames) <= spec.max_batch:
        raise ValueError(f"canary frames are {frames.dtype} {frames.shape}, not uint8 [1..{spec.max_batch}, H, W]")
    graph = (version_dir / GRAPH_FILE).read_bytes()
    arrays: dict[str, np.ndarray] = {}
    for itemsize in spec.itemsizes:
        counts = _counts(frames, itemsize, spec.max_batch)
        changed = variant(graph, itemsize)
        outputs = make_canary(changed, counts)
        if not any(np.any(array) for array in outputs.values()):
            raise CanaryError(f"{spec.name}: all outputs of the canary frames are zero, take frames with a signal")
        for position in range(itemsize):
            _check_byte_matters(spec.variant(itemsize), changed, position, counts, outputs)
        arrays[f"u{8 * itemsize}_frame"] = counts
        arrays |= {f"u{8 * itemsize}_{name}": array for name, array in outputs.items()}
    path = version_dir / CANARY_FILE
    np.savez_compressed(path, **arrays)  # pyright: ignore[reportArgumentType]
    return path


def read_canary(version_dir: Path, spec: ModelSpec, itemsize: int) -> dict[str, np.ndarray]:
    """Frames (under "frame") and expected outputs of one variant. Raises CanaryError where there are none."""
    path = version_dir / CANARY_FILE
    key = f"u{8 * itemsize}_"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[key + name] for name in (FRAME, *(output.name for output in spec.outputs))}
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:  # absent or damaged
        reason = f"{type(error).__name__}: {error}"
        raise CanaryError(f"{spec.variant(itemsize)} has no usable canary in {path} ({reason})") from error


def as_bytes(frames: np.ndarray) -> np.ndarray:
    """Frames [n, H, W] as the little-endian bytes that the graphs take: uint8 [n, H, W, itemsize]."""
    little = np.ascontiguousarray(frames, frames.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(*frames.shape, frames.itemsize)


def region_bytes(expected: Arrays) -> int:
    """Size of the region that `check` needs for these frames and outputs."""
    return sum(_aligned(array.nbytes) for array in expected.values())


class Asked:
    """A canary on its way to `model`, with the right answers; through `region` where one is given.

    The region must not be used for another one before this one is settled.
    """

    def __init__(self, client: Submitter, model: str, expected: Arrays, region: Region | None = None) -> None:
        """Send it."""
        self.model = model
        self._region = region
        self._wanted = {name: array for name, array in expected.items() if name != FRAME}
        self._spans = {} if region is None else _lay_out(region, expected)
        self._done: queue.SimpleQueue[Completion] = queue.SimpleQueue()
        client.submit(self._request(as_bytes(expected[FRAME])), self._done.put)

    def settled(self, within_s: float) -> bool:
        """Whether the right answer has come; False where none has come yet.

        Integers must be equal, floats within `TOLERANCE`. Raises CanaryError with the model, the output and the
        largest difference.
        """
        try:
            answer = self._done.get(timeout=within_s)
        except queue.Empty:
            return False
        if answer.error is not None:
            raise CanaryError(f"{self.model} failed its canary: {answer.error}") from answer.error
        for name, array in self._wanted.items():
            _compare(self.model, name, array, self._found(answer, name, array))
        return True

    def _request(self, frame: np.ndarray) -> Request:
        n, height, width, itemsize = frame.shape
        shape = (n, height, width, itemsize)
        if self._region is None:
            return Request("canary", self.model, shape, frame, tuple(self._wanted))
        self._region.view[:] = UNWRITTEN
        _bytes_of(self._region, self._spans[FRAME])[:] = frame.reshape(-1)
        outputs = {name: self._spans[name] for name in self._wanted}
        return Request("canary", self.model, shape, self._spans[FRAME], outputs)

    def _found(self, answer: Completion, name: str, expected: np.ndarray) -> np.ndarray | None:
        if self._region is None:
            return (answer.outputs or {}).get(name)
        stated = answer.shapes.get(name)
        if stated != expected.shape:
            return np.empty(stated or (0,), expected.dtype)
        return _bytes_of(self._region, self._spans[name]).view(expected.dtype).reshape(expected.shape)


def check(client: Submitter, model: str, expected: Arrays, region: Region | None = None) -> None:
    """Ask and wait. Raises CanaryError where the answer is wrong, or takes longer than `ANSWER_S`."""
    if not Asked(client, model, expected, region).settled(ANSWER_S):
        raise CanaryError(f"{model} did not answer its canary within {ANSWER_S:.0f} s")


def _counts(frames: np.ndarray, itemsize: int, max_batch: int) -> np.ndarray:
    """Frames like `frames` in pixels of `itemsize` bytes, of which every byte is needed somewhere.

    With four bytes the second of each two frames is bright enough for the upper bytes; in one frame with both, the
    bright pixels would drown the others wherever a model normalises.
    """
    counts = frames.astype(f"u{itemsize}")
    if itemsize > 1:
        counts *= 3
    if itemsize > 2:
        if len(counts) == 1 < max_batch:
            counts = np.repeat(counts, 2, axis=0)
        counts[1::2] *= WIDEST_COUNT // max(1, int(counts.max()))
    limit = np.iinfo(counts.dtype).max
    counts[:, 0, :2] = (limit, limit - 1)
    return counts


def _check_byte_matters(model: str, graph: bytes, position: int, counts: np.ndarray, outputs: Arrays) -> None:
    broken = without_byte(graph, position)
    if broken is None:
        return
    found = make_canary(broken, counts)
    try:
        for name, array in outputs.items():
            _compare(model, name, array, found[name])
    except CanaryError:
        return  # as it should be
    raise CanaryError(f"{model}: the canary frames say nothing about byte {position}, take frames with more counts")


def _lay_out(region: Region, expected: Arrays) -> dict[str, Span]:
    spans, offset = {}, 0
    for name, array in expected.items():
        spans[name] = Span(region.name, offset, array.nbytes)
        offset += _aligned(array.nbytes)
    return spans


def _bytes_of(region: Region, span: Span) -> np.ndarray:
    return region.view[span.offset : span.offset + span.nbytes]


def _aligned(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def _compare(model: str, name: str, expected: np.ndarray, found: np.ndarray | None) -> None:
    if found is None or found.shape != expected.shape or found.dtype != expected.dtype:
        got = "nothing" if found is None else f"{found.dtype} {found.shape}"
        raise CanaryError(f"{model}: {name} is {got}, expected {expected.dtype} {expected.shape}: {SUSPECTS}")
    exact = expected.dtype.kind not in "fc"
    tolerance, relative = (0.0, 0.0) if exact else (TOLERANCE, RELATIVE_TOLERANCE)
    if np.allclose(found, expected, rtol=relative, atol=tolerance, equal_nan=True):
        return
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    largest = np.nanmax(difference) if np.any(np.isfinite(difference)) else float("nan")
    raise CanaryError(f"{model}: {name} is off by up to {largest:.4g} (allowed {tolerance:g}): {SUSPECTS}")
