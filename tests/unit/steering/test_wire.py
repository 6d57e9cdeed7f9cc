"""Whatever is packed is read again; whatever else comes is a CodecError."""

import math
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.agent.messages import Observation
from edge.agent.options import Options
from edge.agent.space import Axis, Space
from edge.steering import wire
from edge.steering.words import definition, observation_words, pack, suggestion_words
from streams.bounds import MAX_REQUEST_BYTES
from streams.messages import CodecError
from tests.unit.steering.scenes import DEFINITION, SPACE, observation

numbers = st.integers(0, 1 << 53)
names = st.from_regex(r"\A[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z", fullmatch=True)
ids = st.text(st.characters(codec="utf-8"), min_size=1, max_size=128)
floats = st.floats(allow_nan=False)
positions = st.dictionaries(st.sampled_from("abcdefgh"), floats, min_size=1, max_size=8)
texts = st.text(st.characters(codec="utf-8"), max_size=64)
observations = st.builds(wire.ObservationWords, ids, positions, floats, floats, st.none() | ids)
suggestions = st.builds(wire.SuggestionWords, ids, positions, floats, numbers, numbers, numbers, texts)
requests = st.one_of(
    st.builds(wire.Open, numbers, names, st.just(DEFINITION)),
    st.builds(wire.Ask, numbers, names, ids, st.integers(1, 64)),
    st.builds(wire.Ingest, numbers, names, st.lists(observations, min_size=1, max_size=2).map(tuple)),
    st.builds(wire.Abandon, numbers, names, st.lists(ids, min_size=1, max_size=3).map(tuple)),
    st.builds(wire.Close, numbers, names),
    st.builds(wire.Ping, numbers),
)
answers = st.one_of(
    st.builds(wire.Opened, numbers, numbers, numbers),
    st.builds(wire.Suggested, numbers, st.lists(suggestions, max_size=3).map(tuple)),
    st.builds(wire.Taken, numbers),
    st.builds(wire.Pong, numbers, floats, numbers, st.lists(names, max_size=3).map(tuple), st.just({"requests": 3})),
    st.builds(wire.Failed, numbers, st.sampled_from(["busy", "refused"]), texts),
)


@given(requests)
def test_requests_come_out_as_they_went_in(request):
    assert wire.unpack_request(pack(request)) == request


@given(answers)
def test_answers_come_out_as_they_went_in(answer):
    assert wire.unpack_answer(pack(answer)) == answer


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | floats | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
).map(lambda plain: msgpack.packb(plain)))  # fmt: skip
def test_garbage_is_an_error_and_nothing_else(garbage):
    for unpack in (wire.unpack_request, wire.unpack_answer):
        with pytest.raises(CodecError):
            unpack(garbage)


@given(requests, st.data())
def test_a_damaged_request_is_a_request_or_an_error(request, data):
    damaged = bytearray(pack(request))
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        wire.unpack_request(bytes(damaged))
    except CodecError as error:
        assert error.reason == "malformed"


@pytest.mark.parametrize("size", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"])
def test_lengths_that_are_not_there_are_not_believed(size):
    with pytest.raises(CodecError, match="malformed"):
        wire.unpack_request(size)


def test_nesting_without_end_is_an_error():
    with pytest.raises(CodecError):
        wire.unpack_request(b"\x91" * MAX_REQUEST_BYTES)


def test_what_is_too_long_is_not_looked_at():
    with pytest.raises(CodecError, match="4097 bytes; at most 4096"):
        wire.unpack_request(bytes(MAX_REQUEST_BYTES + 1))


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\n", "a\0", "a" * 65, "ä", 7, None])
def test_names_that_are_no_file_are_refused(name):
    plain = {"op": "close", "number": 1, "experiment": name}
    with pytest.raises(CodecError, match="experiment"):
        wire.unpack_request(msgpack.packb(plain))


def changed(path: str, value: Any) -> bytes:
    """A request to open, with another value at `path`."""
    plain = msgspec.to_builtins(wire.Open(1, "map", DEFINITION))
    *way, last = path.split(".")
    inner = plain
    for step in way:
        inner = inner[step]
    inner[last] = value
    return msgpack.packb(plain)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("number", -1),
        ("number", True),
        ("definition.seed", -1),
        ("definition.seed", 1 << 60),
        ("definition.axes", []),
        ("definition.axes", [{"name": "x", "low": 0.0, "high": 1.0, "speed": 1.0}] * 9),
        ("definition.axes", [{"name": "x" * 65, "low": 0.0, "high": 1.0, "speed": 1.0}]),
        ("definition.options.points", 8193),
        ("definition.options.candidates", 10_001),
        ("definition.options.start_points", 0),
        ("definition.options.references", "many"),
    ],
)
def test_definitions_beyond_the_limits_are_refused(path, value):
    with pytest.raises(CodecError, match="malformed"):
        wire.unpack_request(changed(path, value))
    wire.unpack_request(changed("number", 7))


def test_numbers_of_items_are_bounded():
    many = tuple(observation_words(observation(number)) for number in range(wire.MOST_OBSERVATIONS + 1))
    for too_many in (wire.Ask(1, "map", "k", 65), wire.Abandon(1, "map", ("s",) * 65), wire.Ingest(1, "map", many)):
        with pytest.raises(CodecError):
            wire.unpack_request(pack(too_many))


def test_a_definition_makes_the_agent_that_was_meant():
    options = Options(exposure_s=0.5, points=40, start_points=8, acquisition="variance", candidates=81, references=20)
    made = definition(SPACE, 5, options).agent("map")
    assert (made.options.exposure_s, made.options.points, made.options.acquisition) == (0.5, 40, "variance")
    assert made.options.training == "deferred"
    (first,) = made.suggest()
    assert first.id == "map-1"
    assert suggestion_words(first).meant().position == first.position
    assert math.isnan(suggestion_words(first).meant().sigma)


@pytest.mark.parametrize("axis", [Axis("x" * 65, 0, 1), Axis("", 0, 1)])
def test_a_space_that_the_service_would_not_take_is_refused_beforehand(axis):
    with pytest.raises(ValueError, match="cannot take this"):
        definition(Space((axis,)), 0, Options())


def test_observations_of_numpy_are_plain_on_the_wire():
    import numpy as np

    words = observation_words(Observation("o", {"x": np.float64(1)}, np.float32(2), np.int64(3)))  # type: ignore[arg-type]
    assert (words.position, words.value, words.variance) == ({"x": 1.0}, 2.0, 3.0)
