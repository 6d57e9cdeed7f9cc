"""What travels between the processes comes out as it went in."""

import numpy as np
import pytest

from edge.pipeline.readiness import Facts, RouteFacts, SourceFacts
from edge.workers import words
from streams.codecs.results import Result
from streams.messages import Compression, EncodedArray, SeriesStart

FACTS = Facts({"det": SourceFacts(1, True)}, {"check": RouteFacts("identity", True, frozenset({"det"}))}, "gone")
UP = [
    words.Hello(1, 2, True),
    words.Began(b"packed"),
    words.Arrived("det", "uid", 7, "image", [0, 3, 2**40]),
    words.Lacking("det", "uid", 7, "image", 5, 2),
    words.Ended("det", "uid"),
    words.Closed("det", "uid"),
    words.State(FACTS, ("det",), [words.RouteNow("det", "uid", "check", {"received": 1}, {})], {"messages": []}),
]
DOWN = [words.Welcome(1, True, [b"a"]), words.Start(b"a"), words.Close("a", "b"), words.Logged("a", "b", "c")]


@pytest.mark.parametrize("word", UP, ids=lambda word: type(word).__name__)
def test_words_of_workers(word: words.Up):
    found = words.unpack_up(words.pack(word))
    if isinstance(word, words.State) and isinstance(found, words.State):
        assert found.facts.sources == FACTS.sources
        assert found.facts.routes == FACTS.routes
        assert (found.facts.lost, found.blocked, found.accounts) == ("gone", word.blocked, word.accounts)
    else:
        assert found == word


@pytest.mark.parametrize("word", DOWN, ids=lambda word: type(word).__name__)
def test_words_to_workers(word: words.Down):
    assert words.unpack_down(words.pack(word)) == word


def test_results_with_their_arrays():
    array = np.arange(6, dtype=np.float32)
    result = Result("det", "uid", 1, 2, "image", "check", "m", "1", "sha", "", 0, 5, 6, position={"row": 1.5})
    packed = words.pack(words.Results("det", "check", [words.Made(9, result, [memoryview(array.tobytes())])]))
    found = words.unpack_up(memoryview(packed))
    assert isinstance(found, words.Results)
    (made,) = found.made
    assert (made.received_ns, made.result) == (9, result)
    np.testing.assert_array_equal(np.frombuffer(made.arrays[0], np.float32), array)


def test_a_start_with_all_that_images_need():
    mask = EncodedArray((2, 2), "<u4", Compression.BSLZ4, memoryview(b"blob"), (8, 4))
    header = {"arm_date": "2026", "many": [1, 2.5, None, True], "bytes": b"raw", 3: "three"}
    begun = SeriesStart("det", "uid", 1, None, ("a", "b"), (4, 5), "uint16", header, {"x": 1}, 7, {"a": mask})
    found = words.unpack_start(words.pack_start(begun))
    for name in begun.__struct_fields__:
        if name != "pixel_mask":
            assert getattr(found, name) == getattr(begun, name)
    assert bytes(found.pixel_mask["a"].blob) == b"blob"
    assert (found.pixel_mask["a"].strides, found.pixel_mask["a"].compression) == ((8, 4), Compression.BSLZ4)


def test_what_cannot_travel_is_left_out():
    begun = SeriesStart("det", "uid", 1, 5, (), header={"huge": 2**70}, user_data={"huge": 2**70})
    found = words.unpack_start(words.pack_start(begun))
    assert (found.header, found.user_data, found.expected) == ({}, None, 5)
