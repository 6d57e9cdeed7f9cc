import numpy as np
import pytest

from edge.models.identity import LONGEST, MODULUS, SPEC, checksum
from edge.training.identity import identity_graph
from tests.unit.models.graphs import as_bytes, session, shipped

SIZES = [(1, 1), (1, 9), (7, 1), (3, 5), (63, 129), (514, 1030)]


def served(images: np.ndarray) -> np.ndarray:
    return session("identity", images.dtype.itemsize).run(None, {"frame": as_bytes(images)})[0]


def images(shape: tuple[int, int], dtype: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, np.iinfo(dtype).max, (2, *shape), dtype=dtype, endpoint=True)


def by_definition(image: np.ndarray) -> list[int]:
    """The sums as plain Python integers, without any array arithmetic."""
    height, width = image.shape
    row_bytes = [image[row].tobytes() for row in range(height)]
    rows = sum((row + 1) * sum(data) for row, data in enumerate(row_bytes))
    length = width * image.dtype.itemsize
    columns = sum((col + 1) * sum(data[col] for data in row_bytes) for col in range(length))
    return [rows % MODULUS, columns % MODULUS]


@pytest.mark.parametrize("dtype", ["<u1", "<u2", "<u4"])
def test_the_reference_follows_the_definition(dtype: str) -> None:
    image = images((13, 11), dtype)[0]
    assert checksum(image).tolist() == by_definition(image)
    assert checksum(image.astype(image.dtype.newbyteorder(">"))).tolist() == by_definition(image)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_the_graph_agrees_with_the_reference(shape: tuple[int, int], dtype: str) -> None:
    batch = images(shape, dtype)
    answer = served(batch)
    assert answer.dtype == np.int32
    np.testing.assert_array_equal(answer, [checksum(image) for image in batch])


@pytest.mark.parametrize("fill", [0, 65535])
def test_the_graph_is_exact_on_large_extreme_frames(fill: int) -> None:
    image = np.full((1, 4096, 4096), fill, dtype=np.uint16)
    image[0, 4095, 4095] = 1
    np.testing.assert_array_equal(served(image)[0], checksum(image[0]))


def test_the_graph_is_exact_at_its_stated_limit() -> None:
    for shape in ((1, LONGEST), (LONGEST, 1)):
        image = np.full((1, *shape), 255, dtype=np.uint8)
        np.testing.assert_array_equal(served(image)[0], checksum(image[0]))


def test_what_goes_wrong_on_the_way_is_noticed() -> None:
    image = images((20, 30), "uint16")[0]
    right = checksum(image).tolist()
    wrong = {
        "two pixels of a row swapped": image.copy(),
        "two rows swapped": image.copy(),
        "bytes swapped": image.byteswap(),
        "rows late by one": np.roll(image, 1, axis=0),
        "one count more": image.copy(),
    }
    wrong["two pixels of a row swapped"][3, [4, 9]] = image[3, [9, 4]]
    wrong["two rows swapped"][[3, 7]] = image[[7, 3]]
    wrong["one count more"][5, 5] ^= 1
    assert [what for what, one in wrong.items() if checksum(one).tolist() == right] == []


def test_the_shipped_graph_is_the_one_the_code_builds() -> None:
    assert shipped("identity") == identity_graph(2).SerializeToString()
    assert SPEC.outputs[0].shape == (2,)
