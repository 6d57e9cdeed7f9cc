import msgspec
import numpy as np
import pytest

from edge.bench.sizing.bare import decoders, fastest, place_of
from edge.bench.sizing.feeding import Order
from edge.bench.sizing.mix import DAMAGED, FAULTY_IMAGES, Mix, case_of, faulty, order_of
from edge.bench.sizing.wire import PICTURES, Case, Maker, changing, damaging
from streams.codecs import DECODERS
from streams.codecs.compression import decompress_into
from streams.messages import CodecError, Compression, Frame, SeriesEnd, SeriesStart

IDS = (0, 1, 23, 24, 255, 256, 5000, 65535, 65536, 100_000)
"""On both sides of where the id takes another byte, or another digit."""


def small(protocol: str) -> Case:
    return Case(protocol, (12, 20), images=200_000)


def pixels(frame: Frame) -> np.ndarray:
    out = np.zeros(frame.shape[0] * frame.shape[1] * np.dtype(frame.dtype).itemsize, np.uint8)
    decompress_into(frame, out)
    return out.view(frame.dtype).reshape(frame.shape)


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_every_message_has_its_own_id_and_its_image(protocol):
    case, decoder = small(protocol), DECODERS[protocol]("det")
    series = Maker(case).series(3)
    (start,) = [message for parts in series.start for message in decoder.decode(parts, 0)]
    assert isinstance(start, SeriesStart)
    assert (start.series_id, start.expected) == (3, 200_000)
    for image_id in (*IDS, *reversed(IDS)):  # a template is used again after another one
        (frame,) = decoder.decode([bytes(part) for part in series.image(image_id)], 0)
        assert isinstance(frame, Frame)
        assert (frame.series_id, frame.image_id, frame.series_uid) == (3, image_id, start.series_uid)
        assert np.array_equal(pixels(frame), case.picture(image_id))
    assert isinstance(decoder.decode(series.end[0], 0)[0], SeriesEnd)


def test_neighbours_differ_and_pictures_repeat():
    case = small("stream-v2")
    assert not np.array_equal(case.picture(0), case.picture(1))
    assert np.array_equal(case.picture(1), case.picture(1 + PICTURES))


def test_a_series_is_start_images_end():
    series = Maker(small("simplon-v1")).series(1)
    assert len(list(series.all(5))) == len(series.start) + 5 + len(series.end)


def test_large_images_are_encoded_beforehand_and_parts_are_their_own():
    case = Case("stream-v2", (64, 64), compression=Compression.BSLZ4, images=3)
    series = Maker(case).series(1)
    assert not series.reused
    assert series.image(1)[0] is series.image(1)[0]
    decoder = DECODERS["stream-v2"]("det")
    decoder.decode(series.start[0], 0)
    for image_id in range(3):
        (frame,) = decoder.decode(series.image(image_id), 0)
        assert isinstance(frame, Frame)
        assert frame.image_id == image_id
        assert np.array_equal(pixels(frame), case.picture(image_id))


def test_the_reference_finds_the_pixels_and_decodes_them():
    case = Case("stream-v2", (64, 96), compression=Compression.BSLZ4, images=2)
    number, start, stop = place_of(case)
    blob = memoryview(Maker(case).series(1).image(0)[number])[start:stop]
    for decode in decoders(case).values():
        decoded = decode(blob)
        found = np.frombuffer(decoded, "<u2") if isinstance(decoded, bytes) else np.asarray(decoded)
        assert np.array_equal(found.reshape(case.shape), case.picture(0))
    name, took = fastest(case, times=1)
    assert took[name] == min(took.values())
    assert set(took) == set(decoders(case))


def test_only_bslz4_is_decoded_by_the_reference():
    with pytest.raises(ValueError, match="none"):
        fastest(small("stream-v2"))


@pytest.mark.parametrize("protocol", ["simplon-v1", "stream-v2"])
def test_the_place_of_raw_pixels(protocol):
    case = Case(protocol, (600, 1000), images=2)
    number, start, stop = place_of(case)
    raw = memoryview(Maker(case).series(1).image(1)[number])[start:stop]
    assert np.array_equal(np.frombuffer(raw, "<u2").reshape(case.shape), case.picture(1))


def test_a_series_that_changes_in_the_middle():
    case = small("stream-v2")
    other = msgspec.structs.replace(case, shape=(6, 44), dtype="uint8")
    series = changing(Maker(case).series(1), Maker(other).series(1), 2)
    decoder = DECODERS["stream-v2"]("det")
    decoder.decode(series.start[0], 0)
    frames = [frame for at in range(4) for frame in decoder.decode([bytes(series.image(at)[0])], 0)]
    assert [(frame.shape, frame.image_id) for frame in frames if isinstance(frame, Frame)] == [
        ((12, 20), 0),
        ((12, 20), 1),
        ((6, 44), 2),
        ((6, 44), 3),
    ]
    assert len({frame.series_uid for frame in frames if isinstance(frame, Frame)}) == 1


def test_each_nth_message_is_damaged_and_the_templates_are_not():
    series = damaging(Maker(small("stream-v2")).series(1), 3)
    decoder = DECODERS["stream-v2"]("det")
    decoder.decode(series.start[0], 0)
    refused = []
    for at in range(10):
        try:
            decoder.decode([bytes(series.image(at)[0])], 0)
        except CodecError:
            refused.append(at)
    assert refused == [3, 6, 9]


def test_a_clean_mix_is_clean_and_long_enough():
    case = Case("stream-v2", (8, 8), images=40)
    orders = list(Mix(case, 100))
    assert [order.number for order in orders] == [1, 2, 3]
    assert all(order.case == case and order.then is None and not order.damaged for order in orders)


def test_a_mix_with_faults_has_every_kind():
    case = Case("stream-v2", (8, 8), "uint8", images=10)
    orders = list(Mix(case, 50, faults=True))
    assert [order.number for order in orders] == list(range(1, 11))
    faults = [order for order in orders if order.case != case]
    assert len(faults) == 5
    assert sum(order.damaged == DAMAGED for order in faults) == 1
    changed = [order.then for order in faults if order.then is not None]
    assert {one.dtype for one in changed} == {"uint8", "uint16", "uint32"}
    assert max(order.case.nbytes for order in faults) > 16 << 20
    assert sorted({order.case.images for order in faults}) == [3, FAULTY_IMAGES]


def test_the_kinds_come_in_turns():
    case = Case("stream-v2", (8, 8), "uint16", images=10)
    assert faulty(case, 1, 0) == faulty(case, 1, 5) != faulty(case, 1, 1)


def test_what_an_image_was_made_as():
    case = Case("stream-v2", (8, 8), images=10)
    other = msgspec.structs.replace(case, dtype="uint8")
    assert [case_of(Order(case, 1, then=other), at) for at in (0, 4, 5, 9)] == [case, case, other, other]
    assert case_of(Order(case, 1), 9) == case
    orders = list(Mix(case, 50, faults=True))
    assert orders == [order_of(case, number, True) for number in range(1, 11)]
