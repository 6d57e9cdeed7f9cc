import numpy as np
import onnx
import pytest

from edge.inference.repository import version_folder
from edge.models.ptycho import (
    CROP_PX,
    FRAME_PX,
    GEOMETRY,
    OFFSET_PX,
    PATCH_PX,
    SPEC,
    SPEC64,
    UNTOLD,
    object_pixel_m,
)
from edge.models.registry import MODELS
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM, ModelSpec
from edge.physics.demo_scene import demo_scan
from edge.physics.deviance import frame_deviance, framed
from edge.physics.diffraction import counted, mean_counts
from edge.physics.judging import PatchJudge, mean_errors, stitched_errors
from edge.physics.objects import random_object
from edge.physics.probe import flux, load_probe, probe_intensity, probe_mask
from edge.physics.stitching import Stitcher, canvas_for
from edge.reference import load_reference
from edge.scanfiles import open_scan
from edge.training.evaluate_ptycho_case import open_case
from edge.training.evaluate_ptycho_served import Served, session_predict
from edge.training.scan_probe import pixel_positions
from edge.training.split import block_split
from tests.data import measured_data
from tests.unit.models.graphs import as_bytes, session, shipped

VERSION = version_folder("ptycho")
MODES = load_probe(VERSION / "probe.npy")
INSIDE = slice(OFFSET_PX, OFFSET_PX + PATCH_PX)
LIMIT_RAD, LIMIT64_RAD = 0.08, 0.11


def counts_tensors() -> tuple[str, str]:
    """Names of the tensors that hold the joined counts, and those without flags."""
    graph = onnx.load_from_string(shipped("ptycho")).graph
    less = next(node for node in graph.node if node.op_type == "Less")
    joined = less.input[0]
    masked = next(node for node in graph.node if node.op_type == "Mul" and joined in node.input)
    return joined, masked.output[0]


def seen_counts(image: np.ndarray) -> np.ndarray:
    """What the graph takes for counts in the central crop of one image."""
    joined, masked = counts_tensors()
    run = session("ptycho", image.dtype.itemsize, joined, masked)
    return np.asarray(run.run([masked], {"frame": as_bytes(image[None])})[0])[0]


def ran(name: str, images: np.ndarray) -> list[np.ndarray]:
    """All outputs for images as bytes, [n, height, width, itemsize]."""
    return [np.asarray(one) for one in session(name, images.shape[-1]).run(None, {"frame": images})]


def frame(dtype: str, values: list[int]) -> tuple[np.ndarray, tuple[slice, slice]]:
    image = np.full((FRAME_PX, FRAME_PX), 3, dtype=dtype)
    image[64, 64 : 64 + len(values)] = values
    edge = (FRAME_PX - CROP_PX) // 2
    return image, (slice(64 - edge, 65 - edge), slice(64 - edge, 64 - edge + len(values)))


@pytest.mark.parametrize(
    ("dtype", "values", "wanted"),
    [
        ("uint8", [0, 1, 253, 254, 255], [0, 1, 253, 0, 0]),
        ("uint16", [0, 255, 256, 65533, 65534, 65535], [0, 255, 256, 65533, 0, 0]),
        (
            "uint32",
            [0, 65534, 65535, 65536, 2**24 - 1, 2**31, 2**32 - 2, 2**32 - 1],
            [0, 65534, 65535, 65536, 2**24 - 1, 0, 0, 0],
        ),
    ],
)
def test_bytes_become_counts_and_flags_become_zero(dtype: str, values: list[int], wanted: list[int]) -> None:
    image, where = frame(dtype, values)
    assert seen_counts(image)[where].ravel().tolist() == wanted


def test_a_flag_is_no_photon_and_no_zero() -> None:
    dead, gap, zero, lit = (
        ran("ptycho", as_bytes(frame("uint16", [value])[0][None])) for value in (65535, 65534, 0, 65533)
    )
    for one, other in zip(dead, gap, strict=True):
        np.testing.assert_array_equal(one, other)
    deviance = [float(answer[2][0, 0]) for answer in (dead, zero, lit)]
    assert deviance[0] != deviance[1]
    assert deviance[2] > 10 * deviance[0]


@pytest.mark.parametrize("spec", [SPEC, SPEC64], ids=lambda spec: spec.name)
def test_item_sizes_agree(spec: ModelSpec) -> None:
    image = np.random.default_rng(0).poisson(20, (2, *spec.frame_shape))
    answers = [ran(spec.name, as_bytes(image.astype(kind))) for kind in ("uint8", "uint16", "uint32")]
    for answer in answers[1:]:
        for found, wanted in zip(answer, answers[0], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("spec", [SPEC, SPEC64], ids=lambda spec: spec.name)
def test_the_graph_is_what_the_specification_says(spec: ModelSpec) -> None:
    graph = onnx.load_from_string(shipped(spec.name)).graph
    assert [value.name for value in graph.input] == ["frame"]
    assert [value.name for value in graph.output] == [output.name for output in spec.outputs]
    names = {initializer.name for initializer in graph.initializer}
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= names
    empty = np.zeros((3, *spec.frame_shape, 2), np.uint8)
    for frames in (empty, np.full_like(empty, 255)):
        answer = ran(spec.name, frames)
        assert [one.shape for one in answer] == [(3, *output.shape) for output in spec.outputs]
        assert all(np.isfinite(one).all() for one in answer)
    assert MODELS[spec.name] is spec
    assert len(shipped(spec.name)) < 4_000_000


@pytest.mark.parametrize("spec", [SPEC, SPEC64], ids=lambda spec: spec.name)
def test_a_frame_that_tells_nothing_never_looks_good(spec: ModelSpec) -> None:
    """Beam off, all flagged, one photon, a hundredth of the dose, half flagged: who decides by it must see that."""
    modes = load_probe(version_folder(spec.name) / "probe.npy")
    bright = counted(mean_counts(modes, np.ones(spec.frame_shape)), np.random.default_rng(0))
    dark = np.zeros_like(bright)
    photon, covered = dark.copy(), bright.copy()
    photon[spec.frame_shape[0] // 2, spec.frame_shape[1] // 2] = 1
    covered[: spec.frame_shape[0] // 2 + 1] = 65535
    faint = np.random.default_rng(1).binomial(bright, 0.01)
    frames = np.stack([dark, np.full_like(dark, 65535), photon, faint, covered, bright]).astype(np.uint16)
    deviance = ran(spec.name, as_bytes(frames))[2][:, 0]
    np.testing.assert_array_equal(deviance[:-1], UNTOLD)
    assert 0 < deviance[-1] < 3


@pytest.mark.parametrize("name", ["ptycho", "ptycho64"])
def test_the_graph_holds_nothing_that_tensorrt_refuses(name: str) -> None:
    graph = onnx.load_from_string(shipped(name)).graph
    refused = {onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64, onnx.TensorProto.DOUBLE}
    assert not [one.name for one in graph.initializer if one.data_type in refused]
    readers = [node.op_type for node in graph.node if "frame" in node.input]
    assert readers == ["Cast"]
    assert not {"Loop", "If", "Shape", "NonZero", "DFT"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("exposure", [0.6, 1.0, 1.8])
def test_an_object_it_was_not_trained_on_is_recovered(exposure: float) -> None:
    scan = demo_scan(exposure**0.5 * MODES, 100, np.random.default_rng(0))
    predict = session_predict(VERSION / "model.onnx")
    judge = PatchJudge(scan.truth, probe_mask(MODES)[INSIDE, INSIDE], OFFSET_PX)
    canvas = canvas_for(scan.positions + OFFSET_PX, PATCH_PX)
    stitcher = Stitcher(canvas.shape, PATCH_PX, probe_intensity(MODES)[INSIDE, INSIDE])
    judged = []
    for image, position in zip(scan.frames, scan.positions, strict=True):
        amplitude, phase = predict(image)
        judged.append(judge(amplitude, phase, position))
        stitcher.add(amplitude, phase, canvas.place(position + OFFSET_PX))
    mean = mean_errors(judged)
    assert mean.phase_mae_rad < 0.5 * mean.phase_mae_constant_rad
    stitched = stitched_errors(*stitcher.image(), canvas.cut(scan.truth))
    assert stitched.errors.phase_mae_rad < 0.6 * stitched.errors.phase_mae_constant_rad
    assert np.hypot(*stitched.shift_px) < 1


def test_the_shipped_probe_is_that_of_the_measured_scan() -> None:
    assert MODES.shape == (3, FRAME_PX, FRAME_PX)
    with open_scan(measured_data("siemens_star/siemens-star-small.npz.bz2")) as scan:
        counts = np.mean([scan.frame(index).sum() for index in range(50)])
    assert flux(MODES) == pytest.approx(counts, rel=0.2)


def test_training_and_test_patches_share_no_pixel() -> None:
    with open_scan(measured_data("siemens_star/siemens-star-small.npz.bz2")) as scan:
        positions = pixel_positions(scan)
    split = block_split(positions, FRAME_PX)
    assert len(split.test) >= 100
    assert len(split.training) >= 150
    lit = np.zeros((600, 600), dtype=bool)
    for row, col in positions[split.training]:
        lit[int(row) : int(np.ceil(row)) + FRAME_PX, int(col) : int(np.ceil(col)) + FRAME_PX] = True
    for row, col in positions[split.test]:
        assert not lit[int(row) : int(np.ceil(row)) + FRAME_PX, int(col) : int(np.ceil(col)) + FRAME_PX].any()


def test_a_scan_too_small_to_split_is_refused() -> None:
    with pytest.raises(ValueError, match="no two blocks"):
        block_split(np.random.default_rng(0).uniform(0, 100, (50, 2)), FRAME_PX)


@pytest.mark.parametrize("name", ["ptycho", "ptycho64"])
def test_the_deviance_is_that_of_the_answer(name: str) -> None:
    served, modes = Served(version_folder(name) / "model.onnx"), load_probe(version_folder(name) / "probe.npy")
    geometry, rng = GEOMETRY[name], np.random.default_rng(5)
    frame_px, offset_px = geometry.frame_px, geometry.offset_px
    inside = slice(offset_px, offset_px + geometry.patch_px)
    measured = np.zeros((frame_px, frame_px), dtype=bool)
    edge = (frame_px - geometry.crop_px) // 2
    measured[edge : edge + geometry.crop_px, edge : edge + geometry.crop_px] = True
    measured[60, 30:34] = False
    frames = np.stack([counted(mean_counts(modes, random_object((frame_px, frame_px), rng)), rng) for _ in range(4)])
    frames[:, 60, 30:34] = 65535
    answers = served(frames)
    assert answers.deviance is not None
    weight = probe_intensity(modes)[inside, inside]
    for image, patch, given in zip(frames, answers.patches, answers.deviance, strict=True):
        whole = framed(patch, weight, frame_px, offset_px)
        assert given == pytest.approx(frame_deviance(image, modes, whole, measured), rel=0.03)


def test_a_worse_answer_has_a_larger_deviance() -> None:
    served, rng = Served(VERSION / "model.onnx"), np.random.default_rng(6)
    modes = MODES.astype(np.complex128)
    right, wrong = [], []
    turned = np.rot90(modes, axes=(1, 2))
    for _ in range(6):
        patch = random_object((FRAME_PX, FRAME_PX), rng)
        right.append(counted(mean_counts(modes, patch), rng))
        wrong.append(counted(mean_counts(turned, patch), rng))
    own, other = served(np.stack(right)).deviance, served(np.stack(wrong)).deviance
    assert own is not None and other is not None
    assert other.min() > 1.5 * own.max()


def test_the_pixel_of_the_object() -> None:
    assert object_pixel_m(1e-10, 2.0, 128, 75e-6) == pytest.approx(1e-10 * 2 / (128 * 75e-6))
    assert object_pixel_m(1e-10, 2.0, 64, 75e-6) == pytest.approx(2 * object_pixel_m(1e-10, 2.0, 128, 75e-6))
    with pytest.raises(ValueError, match="positive"):
        object_pixel_m(1e-10, 0, 128, 75e-6)


@pytest.mark.parametrize(("name", "limit_rad"), [("ptycho", LIMIT_RAD), ("ptycho64", LIMIT64_RAD)])
def test_measured_frames_that_training_never_saw_are_recovered(name: str, limit_rad: float) -> None:
    folder = version_folder(name)
    served = Served(folder / "model.onnx")
    reference = load_reference(measured_data("siemens_star/reference_rpie_3modes.npz"))
    with open_scan(measured_data("siemens_star/siemens-star-small.npz.bz2")) as scan:
        case = open_case(scan, reference, load_probe(folder / "probe.npy"), served.patch_px)
    mean = mean_errors(case.judged(served(case.test.frames), case.test.positions))
    assert mean.phase_mae_rad <= limit_rad
    assert mean.phase_mae_constant_rad > 0.3
