"""Configuration: what is taken, what is refused, and what changes with it."""

import math

import pytest

from edge.simulate.configuration import (
    READOUT_S,
    detector_parameters,
    filewriter_parameters,
    stream_parameters,
    timing,
)
from edge.simulate.parameters import Parameter, Settings
from edge.simulate.refusal import Refused


@pytest.fixture
def settings():
    return Settings(detector_parameters((24, 36), "uint16"), timing)


def test_a_description(settings):
    assert settings.describe("nimages") == {
        "value": 1, "value_type": "uint", "access_mode": "rw", "min": 1, "max": 1_000_000,
    }  # fmt: skip
    assert settings.describe("frame_time")["unit"] == "s"
    assert settings.describe("compression")["allowed_values"] == ["bslz4", "lz4", "none"]
    assert settings.describe("x_pixels_in_detector")["value"] == 36
    assert settings.describe("y_pixels_in_detector") == {"value": 24, "value_type": "uint", "access_mode": "r"}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nimages", 0, "1 to 1e"),
        ("nimages", 10**6 + 1, "1 to 1e"),
        pytest.param("nimages", 10**4000, "very many digits", id="huge"),
        ("nimages", -1, "a uint is needed"),
        ("nimages", 1.0, "a uint is needed"),
        ("nimages", True, "a uint is needed"),
        ("nimages", None, "null is refused"),
        ("nimages", [[[1]]], "a list is refused"),
        ("nimages", "7", "'7' is refused: a uint"),
        ("frame_time", math.nan, "a float is needed"),
        ("frame_time", math.inf, "a float is needed"),
        ("frame_time", 0.0, "0.001 to 3600 s"),
        pytest.param("frame_time", 10**400, "0.001 to 3600 s", id="beyond"),
        ("frame_time", False, "a float is needed"),
        ("trigger_mode", "exts", "allowed are ints"),
        ("trigger_mode", 3, "a string is needed"),
        pytest.param("trigger_mode", "x" * 10**6, "allowed are ints", id="long"),
        ("x_pixels_in_detector", 36, "read-only"),
        ("nonsense", 1, "there is no parameter 'nonsense'"),
    ],
)
def test_what_is_refused_changes_nothing(settings, name, value, words):
    before = {known: settings[known] for known in settings.parameters}
    with pytest.raises(Refused, match=words) as refused:
        settings.put(name, value)
    assert refused.value.status in (400, 403, 404) and len(str(refused.value)) < 250
    assert {known: settings[known] for known in settings.parameters} == before


def test_a_float_may_be_written_without_a_point(settings):
    settings.put("frame_time", 2)
    assert settings["frame_time"] == 2.0 and isinstance(settings["frame_time"], float)


def test_frame_and_count_time_move_each_other_only_where_they_collide(settings):
    assert settings.put("count_time", 0.1) == ["count_time", "frame_time"]
    assert settings["frame_time"] == 0.1 + READOUT_S
    assert settings.put("frame_time", 1.0) == ["frame_time"]
    assert settings["count_time"] == 0.1
    assert settings.put("frame_time", 0.05) == ["count_time", "frame_time"]
    assert settings["count_time"] == 0.05 - READOUT_S
    assert settings.put("count_time", 0.05) == ["count_time", "frame_time"]  # nothing left for the readout
    assert settings.put("frame_time", 0.05) == ["count_time", "frame_time"]
    assert settings.put("count_time", 0.01) == ["count_time"]
    assert settings["frame_time"] == 0.05


@pytest.mark.parametrize("name", ["count_time", "frame_time"])
def test_times_at_their_limits_stay_within_both(settings, name):
    limits = {known: settings.parameters[known] for known in ("count_time", "frame_time")}
    for value in (limits[name].low, limits[name].high):
        settings.put(name, value)
        for known, parameter in limits.items():
            assert parameter.low <= settings[known] <= parameter.high
        assert settings["count_time"] + READOUT_S <= settings["frame_time"] * (1 + 1e-12)


def test_setting_what_is_set_already_answers_with_its_name(settings):
    assert settings.put("nimages", 1) == ["nimages"]


@pytest.mark.parametrize("pattern", ["../evil", "/tmp/evil", ".hidden", "a/b", "", "a\n", "x" * 200, "a b"])
def test_a_file_name_is_never_a_path(pattern):
    settings = Settings(filewriter_parameters(enabled=True))
    with pytest.raises(Refused, match="must match"):
        settings.put("name_pattern", pattern)


def test_a_writer_without_a_folder_cannot_be_enabled():
    settings = Settings(filewriter_parameters(enabled=False))
    with pytest.raises(Refused, match="allowed are disabled"):
        settings.put("mode", "enabled")


@pytest.mark.parametrize(("protocol", "name"), [("simplon-v1", "legacy"), ("stream-v2", "cbor")])
def test_the_stream_starts_in_the_protocol_that_was_chosen(protocol, name):
    assert Settings(stream_parameters(protocol))["format"] == name


def test_a_bool_is_a_bool():
    parameter = Parameter("flag", "bool", True)
    assert parameter.read(False) is False
    with pytest.raises(Refused, match="a bool is needed"):
        parameter.read(0)
