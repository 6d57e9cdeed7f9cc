"""The first configuration: `edge serve` takes it for every detector, and it says what to do by hand."""

import tomllib
from dataclasses import replace

import pytest

from edge.config import Config, parse
from edge.setup.detected import Detected
from edge.setup.starter import MOST_MIB, memory_mib, starter, stream_address

EIGER = Detected(
    url="http://10.42.41.10",
    version="1.8.0",
    description="Dectris EIGER2 Si 1M",
    number="E-02-0100",
    state="idle",
    shape=(1065, 1030),
    bits=16,
    auto_summation=False,
    compression="bslz4",
    protocol="stream-v2",
    stream_mode="disabled",
    header_detail="basic",
    beam_centre=None,
    thresholds=(),
)


def parsed(found: Detected, stream: str = "") -> Config:
    return parse(tomllib.loads(starter(found, stream)))


@pytest.mark.parametrize("shape", [(128, 128), (127, 5000), (1065, 1030), (4362, 4148)])
@pytest.mark.parametrize("bits", [8, 16, 32])
@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_every_detector_has_one_that_works(shape: tuple[int, int], bits: int, protocol: str) -> None:
    found = replace(EIGER, shape=shape, bits=bits, protocol=protocol)
    config = parsed(found)
    (source,) = config.source
    assert (source.protocol, source.detector_url, source.bind) == (protocol, "http://10.42.41.10", False)
    assert source.memory_mib << 20 >= 8 * shape[0] * shape[1] * bits // 8
    assert {route.pixel_bits for route in config.route} == {(bits,)}
    assert {route.model for route in config.route} == ({"peaks", "ptycho"} if shape == (128, 128) else {"peaks"})


def test_where_the_stream_is() -> None:
    assert stream_address(EIGER) == "tcp://10.42.41.10:31001"
    assert stream_address(replace(EIGER, protocol="simplon-v1")) == "tcp://10.42.41.10:9999"
    assert stream_address(replace(EIGER, url="http://[fe80::1]:80")) == "tcp://[fe80::1]:31001"
    assert parsed(EIGER, "tcp://tee:9998").source[0].address == "tcp://tee:9998"


def test_a_detector_elsewhere_is_read_in_plain_and_says_so() -> None:
    assert parsed(EIGER).source[0].plain
    assert "# A detector cannot encrypt" in starter(EIGER)
    here = replace(EIGER, url="http://127.0.0.1:8000")
    assert not parsed(here).source[0].plain
    assert "plain =" not in starter(here)


def test_memory_grows_with_the_frame_and_is_bounded() -> None:
    assert memory_mib(replace(EIGER, shape=(128, 128))) == 256
    assert memory_mib(replace(EIGER, shape=(2167, 2070))) == 576  # 64 frames of 9 MB, in steps of 64
    assert memory_mib(replace(EIGER, shape=(4362, 4148), bits=32)) == MOST_MIB


def test_auto_summation_may_send_more_bits() -> None:
    assert parsed(replace(EIGER, auto_summation=True)).route[0].pixel_bits == (16, 32)
    assert parsed(replace(EIGER, auto_summation=True, bits=8)).route[0].pixel_bits == (8,)


def test_a_region_is_proposed_for_a_model_of_one_size() -> None:
    assert "# region = [468, 451, 128, 128]" in starter(EIGER)
    assert "# region = [0, 902, 128, 128]" in starter(replace(EIGER, beam_centre=(10.0, 1020.0)))
    assert "# region = [500, 483, 64, 64]" in starter(EIGER)
    assert "region" not in starter(replace(EIGER, shape=(60, 1000)))
    assert "it takes images of 128 x 128 pixels" in starter(replace(EIGER, shape=(100, 1000)))


def uncommented(text: str, table: str) -> str:
    """The text with the commented route `table` in force, as a person would do it."""
    lines, inside = [], False
    for line in text.splitlines():
        inside = (inside or line == "# [[route]]") and line.startswith("# ")
        lines.append(line[2:] if inside else line)
    return "\n".join(lines)


def test_what_is_commented_out_is_right_too() -> None:
    config = parse(tomllib.loads(uncommented(starter(EIGER), "route")))
    assert {route.model for route in config.route} == {"peaks", "ptycho", "ptycho64", "denoise", "identity"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "`edge tee` in front"),
        ({"stream_mode": "disabled"}, 'stream/api/1.8.0/config/mode to "enabled"'),
        ({"stream_mode": "enabled"}, "enabled already"),
        ({"header_detail": "none"}, 'header_detail to "basic"'),
        ({"state": "na"}, "initialize it"),
        ({"thresholds": ("1", "2")}, "all thresholds are inferred"),
    ],
)
def test_what_is_to_be_done_by_hand_is_said(changes: dict[str, object], words: str) -> None:
    text = starter(replace(EIGER, **changes))  # pyright: ignore[reportArgumentType]
    assert words in " ".join(text.replace("#", " ").split())
    parse(tomllib.loads(text))
