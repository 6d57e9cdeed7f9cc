import numpy as np
import onnx
import pytest

from edge.inference.repository import version_folder
from edge.models.ptycho import CROP_PX, FRAME_PX, OFFSET_PX, PATCH_PX, SPEC
from edge.models.registry import MODELS
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM
from edge.physics.demo_scene import demo_scan
from edge.physics.judging import PatchJudge, mean_errors, stitched_errors
from edge.physics.probe import flux, load_probe, probe_intensity, probe_mask
from edge.physics.stitching import Stitcher, canvas_for
from edge.reference import load_reference
from edge.scanfiles import open_scan
from edge.training.evaluate_ptycho import evaluate, session_predict
from edge.training.scan_probe import pixel_positions
from edge.training.split import block_split
from tests.data import measured_data
from tests.unit.models.graphs import as_bytes, session, shipped

VERSION = version_folder("ptycho")
MODES = load_probe(VERSION / "probe.npy")
INSIDE = slice(OFFSET_PX, OFFSET_PX + PATCH_PX)


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
    return run.run([masked], {"frame": as_bytes(image[None])})[0][0]


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


def test_a_flag_is_no_photon() -> None:
    run = session("ptycho", 2)
    dead, zero, lit = (
        np.stack(run.run(None, {"frame": as_bytes(frame("uint16", [value])[0][None])})) for value in (65535, 0, 65533)
    )
    np.testing.assert_array_equal(dead, zero)
    assert np.abs(lit - zero).max() > 0.01


def test_item_sizes_agree() -> None:
    image = np.random.default_rng(0).poisson(20, (2, FRAME_PX, FRAME_PX))
    answers = [
        np.stack(session("ptycho", np.dtype(kind).itemsize).run(None, {"frame": as_bytes(image.astype(kind))}))
        for kind in ("uint8", "uint16", "uint32")
    ]
    for answer in answers[1:]:
        np.testing.assert_allclose(answer, answers[0], atol=1e-5)


def test_the_graph_is_what_the_specification_says() -> None:
    graph = onnx.load_from_string(shipped("ptycho")).graph
    assert [value.name for value in graph.input] == ["frame"]
    assert [value.name for value in graph.output] == [output.name for output in SPEC.outputs]
    names = {initializer.name for initializer in graph.initializer}
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= names
    answer = session("ptycho", 2).run(None, {"frame": np.zeros((3, FRAME_PX, FRAME_PX, 2), np.uint8)})
    assert [one.shape for one in answer] == [(3, *output.shape) for output in SPEC.outputs]
    assert all(np.isfinite(one).all() for one in answer)
    assert MODELS["ptycho"] is SPEC
    assert len(shipped("ptycho")) < 4_000_000


def test_the_graph_holds_nothing_that_tensorrt_refuses() -> None:
    graph = onnx.load_from_string(shipped("ptycho")).graph
    refused = {onnx.TensorProto.UINT16, onnx.TensorProto.UINT32, onnx.TensorProto.UINT64, onnx.TensorProto.DOUBLE}
    assert not [one.name for one in graph.initializer if one.data_type in refused]
    readers = [node.op_type for node in graph.node if "frame" in node.input]
    assert readers == ["Cast"]
    assert not {"Loop", "If", "Shape", "NonZero"} & {node.op_type for node in graph.node}


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


def test_measured_frames_that_training_never_saw_are_recovered() -> None:
    reference = load_reference(measured_data("siemens_star/reference_rpie_3modes.npz"))
    with open_scan(measured_data("siemens_star/siemens-star-small.npz.bz2")) as scan:
        test = block_split(pixel_positions(scan), FRAME_PX).test
        frames = np.stack([scan.frame(int(index)) for index in test])
    rows = evaluate(frames, reference.positions[test], session_predict(VERSION / "model.onnx"), MODES, reference.image)
    figures = {row.name: row.value for row in rows}
    assert figures["test_frames"] == len(test)
    assert figures["phase_mae_rad"] <= 0.13
    assert figures["phase_mae_constant_rad"] == pytest.approx(0.324, abs=0.01)
    assert figures["stitched_phase_mae_rad"] < 0.45 * figures["stitched_phase_mae_constant_rad"]
