from dataclasses import replace

import numpy as np
import onnx
import pytest

from edge.models.bragg import FLAT_FROM, PATCH_PX, SPEC, centres, cut_patches
from edge.models.registry import MODELS
from edge.models.spec import BYTE_WEIGHTS, SENTINEL_FROM
from edge.physics.patches import FLAG, PatchKind, Profile, integrated, perfect, random_patches
from tests.unit.models.graphs import as_bytes, session, shipped

FLAGS = {"uint8": 255, "uint16": 65535, "uint32": 2**32 - 1, "int32": -1}


def served(images: np.ndarray) -> dict[str, np.ndarray]:
    names = [output.name for output in SPEC.outputs]
    answer = session("bragg", images.dtype.itemsize).run(names, {"frame": as_bytes(images)})
    return {name: np.asarray(array) for name, array in zip(names, answer, strict=True)}


def spot(row: float, column: float, counts: float, half_width: float = 1.2, mixing: float = 0.3) -> np.ndarray:
    """Expected counts [11, 11] of one spot."""
    shape = integrated(Profile(*(np.array([one]) for one in (row, column, half_width, half_width, 0.0, mixing))))[0]
    return counts * shape / shape.sum()


def counted(expected: np.ndarray, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(expected).astype(dtype)


def test_the_graph_is_what_the_specification_says() -> None:
    graph = onnx.load_from_string(shipped("bragg")).graph
    assert {BYTE_WEIGHTS, SENTINEL_FROM} <= {initializer.name for initializer in graph.initializer}
    answer = served(np.zeros((3, PATCH_PX, PATCH_PX), np.uint16))
    for output in SPEC.outputs:
        assert answer[output.name].shape == (3, *output.shape)
        assert answer[output.name].dtype == output.dtype
        assert np.isfinite(answer[output.name]).all()
    assert MODELS["bragg"] is SPEC


def test_the_graph_holds_nothing_that_tensorrt_refuses() -> None:
    graph = onnx.load_from_string(shipped("bragg")).graph
    assert not {"Loop", "If", "NonZero", "Mod", "CumSum"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int32"])
@pytest.mark.parametrize("place", [(5.0, 5.0), (4.63, 5.41), (5.48, 4.55)])
def test_a_bright_spot_is_measured(place: tuple[float, float], dtype: str) -> None:
    truth = 40_000.0
    answer = served(counted(np.stack([spot(*place, truth) + 5] * 20), dtype))
    assert abs(answer["row"].mean() - place[0]) < 0.02
    assert abs(answer["column"].mean() - place[1]) < 0.02
    assert abs(answer["intensity"].mean() / truth - 1) < 0.02
    assert (answer["row_sigma"] < 0.05).all()
    assert (answer["intensity_sigma"] < 0.05 * truth).all()
    assert (answer["intensity_sigma"] > 0.5 * truth**0.5).all()
    assert not answer["saturated"].any()


@pytest.mark.parametrize("level", [30.0, 200.0])
def test_the_background_is_what_lies_beside_the_spot(level: float) -> None:
    answer = served(counted(np.stack([spot(5.2, 4.9, 1000.0) + level] * 20)))
    assert abs(answer["background"].mean() / level - 1) < 0.35


def test_faint_spots_have_wide_sigmas() -> None:
    faint, bright = (served(counted(np.stack([spot(5.2, 4.9, counts) + 5] * 20))) for counts in (200.0, 50_000.0))
    for name in ("row_sigma", "column_sigma"):
        assert np.median(faint[name]) > 5 * np.median(bright[name])
    relative = [np.median(one["intensity_sigma"] / one["intensity"]) for one in (faint, bright)]
    assert relative[0] > 5 * relative[1]


def test_wider_spots_have_more_pixels() -> None:
    narrow, wide = (
        served(counted(spot(5, 5, 20_000.0, width, 0.0)[None] + 20))["pixels"][0, 0] for width in (0.8, 2.0)
    )
    assert 5 <= narrow < wide <= PATCH_PX**2


def test_flagged_pixels_are_not_looked_at() -> None:
    image = counted(spot(5.3, 4.8, 30_000.0) + 10)
    flagged = [image.copy() for _ in range(2)]
    for patch, flag in zip(flagged, (FLAG, FLAG - 1), strict=True):
        patch[:, 9:] = flag
        patch[0, 3] = flag
    one, other = (served(patch[None]) for patch in flagged)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)
    assert abs(one["row"][0, 0] - 5.3) < 0.05
    assert abs(one["column"][0, 0] - 4.8) < 0.05
    assert abs(one["intensity"][0, 0] / 30_000 - 1) < 0.1
    assert not one["saturated"].any()


def test_a_neighbour_is_not_counted() -> None:
    own, beside = spot(5.2, 4.9, 20_000.0), spot(7.9, 8.6, 30_000.0)
    answer = served(counted(np.stack([own + beside + 3] * 20)))
    off = answer["intensity"] - 20_000
    assert (np.abs(off) < 3 * answer["intensity_sigma"]).all()
    assert abs(off.mean()) < 0.15 * 20_000  # the neighbour has half as much again
    assert np.hypot(answer["row"].mean() - 5.2, answer["column"].mean() - 4.9) < 0.06


def test_what_saturates_is_said() -> None:
    image = counted(spot(5.1, 4.9, 40_000.0) + 5)
    top = int(image.max())
    flat = np.minimum(image, top // 2)
    flagged = np.where(image > top // 2, FLAG, image).astype(np.uint16)
    full = image.copy()
    full[5, 5] = 65533
    full[5, 4] = 60000
    dim = counted(spot(5.0, 5.0, 200.0))
    few = np.minimum(dim, int(dim.max()) // 2)
    assert few.max() < FLAT_FROM
    answer = served(np.stack([image, flat, flagged, full, dim, few]))["saturated"][:, 0]
    np.testing.assert_array_equal(answer, [0, 1, 1, 1, 0, 0])


def test_faultless_patches_are_hardly_ever_called_saturated() -> None:
    patches = random_patches(2000, replace(perfect(PatchKind())), np.random.default_rng(5))
    said = served(patches.images)["saturated"][:, 0] == 1
    assert said[patches.saturated].all()
    assert said[~patches.saturated].mean() < 0.005


def test_many_spots_have_no_bias_and_honest_sigmas() -> None:
    patches = random_patches(3000, perfect(PatchKind()), np.random.default_rng(7))
    patches = patches.take(~patches.saturated & (patches.signal_to_noise > 20))
    answer = {name: array[:, 0] for name, array in served(patches.images).items()}
    assert abs(np.mean(answer["intensity"] / patches.intensity) - 1) < 0.02
    for name, truth in (
        ("row", patches.centre[:, 0]),
        ("column", patches.centre[:, 1]),
        ("intensity", patches.intensity),
    ):
        pulls = (answer[name] - truth) / answer[f"{name}_sigma"]
        assert 0.8 < pulls.std() < 1.25, name


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32"])
def test_patches_are_cut_around_the_nearest_pixel(dtype: str) -> None:
    image = (np.arange(40 * 50).reshape(40, 50) % 120).astype(dtype)
    patches, corners = cut_patches(image, np.array([20.4, 0.0, 39.4]), np.array([30.6, 2.0, 49.0]))
    assert patches.dtype == image.dtype
    np.testing.assert_array_equal(corners, [[15, 26], [-5, -3], [34, 44]])
    np.testing.assert_array_equal(patches[0], image[15:26, 26:37])
    np.testing.assert_array_equal(patches[1][5:, 3:], image[:6, :8])
    flag = FLAGS[dtype]
    assert (patches[1][:5] == flag).all()
    assert (patches[1][:, :3] == flag).all()
    assert (patches[2][6:] == flag).all()
    assert (patches[2][:, 6:] == flag).all()


def test_no_places_give_no_patches() -> None:
    patches, corners = cut_patches(np.zeros((20, 20), np.uint16), np.array([]), np.array([]))
    assert patches.shape == (0, PATCH_PX, PATCH_PX)
    assert corners.shape == (0, 2)


@pytest.mark.parametrize(("row", "column"), [(-0.6, 3.0), (3.0, 19.6), (np.nan, 3.0), (np.inf, 3.0)])
def test_places_outside_the_image_are_refused(row: float, column: float) -> None:
    with pytest.raises(ValueError, match="is not in an image"):
        cut_patches(np.zeros((20, 20), np.uint16), np.array([row]), np.array([column]))


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
def test_pixels_that_are_no_counts_are_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="takes integers"):
        cut_patches(np.zeros((20, 20), dtype), np.array([5.0]), np.array([5.0]))


def test_from_image_to_centres_in_the_image() -> None:
    image = np.full((60, 70), 3.0)
    places = np.array([[20.3, 30.8], [45.6, 12.1], [3.2, 66.4]])
    for row, column in places:
        first = np.rint([row, column]).astype(int) - 5
        patch = spot(row - first[0], column - first[1], 30_000.0)
        low, high = np.maximum(first, 0), np.minimum(first + PATCH_PX, image.shape)
        inner = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
        image[low[0] : high[0], low[1] : high[1]] += patch[inner]
    patches, corners = cut_patches(counted(image), *np.rint(places).T)
    found = centres(served(patches), corners)
    np.testing.assert_allclose(found, places, atol=0.05)


def test_answers_and_corners_must_be_as_many() -> None:
    answers = {"row": np.zeros((3, 1)), "column": np.zeros((3, 1))}
    with pytest.raises(ValueError, match="3 answers to 2 patches"):
        centres(answers, np.zeros((2, 2), np.int64))
