"""Which frames make one image, and what is known of it before a pixel is read."""

import numpy as np
import pytest

from edge.conditioning.errors import ConditioningError
from edge.conditioning.geom import parse
from edge.conditioning.selection import WHOLE, Selection
from edge.conditioning.settings import Conditioning
from edge.pipeline.preparing import REMEMBERED, REMEMBERED_IMAGES, Preparing, module_of
from streams.messages import Compression, EncodedArray, Frame, SeriesStart

GEOMETRY = """
res = 10000
{dims}
a/min_fs = 0
a/max_fs = 3
a/min_ss = 0
a/max_ss = 2
a/corner_x = 0
a/corner_y = 0
a/fs = x
a/ss = y
b/min_fs = 0
b/max_fs = 3
b/min_ss = 0
b/max_ss = 2
b/corner_x = 5
b/corner_y = 0
b/fs = x
b/ss = y
"""
TWO = parse(GEOMETRY.format(dims="a/dim0 = 0\nb/dim0 = 1"))
SHAPE = (3, 4)


def frame(image_id=0, channel="det/0", shape=SHAPE, dtype="<u2", uid="uid", value=0) -> Frame:
    pixels = np.full(shape, value, dtype)
    return Frame("det", uid, 1, image_id, channel, shape, dtype, Compression.NONE, memoryview(pixels.tobytes()))


def start(uid="uid", **changes) -> SeriesStart:
    return SeriesStart("det", uid, 1, 10, ("det/0", "det/1"), SHAPE, "uint16", **changes)


def encoded(array) -> EncodedArray:
    array = np.asarray(array)
    return EncodedArray(array.shape, array.dtype.str, Compression.NONE, memoryview(array.tobytes()))


def test_without_conditioning_a_frame_is_its_image():
    frames = [frame(0), frame(0, "det/1"), frame(1)]
    shots = Preparing().shots(frames, start())
    assert [shot.frame for shot in shots] == frames
    assert all(shot.conditioner is None and not shot.error for shot in shots)


def test_a_frame_to_which_nothing_is_done_keeps_its_way():
    (shot,) = Preparing(Conditioning(mask_from_header=True)).shots([frame()], start())
    assert shot.conditioner is None


def test_an_oriented_frame_has_the_shape_that_models_see():
    (shot,) = Preparing(Conditioning(orientation="transpose")).shots([frame(7)], start())
    assert (shot.frame.shape, shot.frame.image_id, shot.frame.channel) == ((4, 3), 7, "det/0")
    assert shot.parts[0].shape == SHAPE


def test_modules_of_one_message_are_images():
    preparing = Preparing(Conditioning(geometry=TWO))
    frames = [frame(image_id, f"det/{module}") for image_id in (4, 5) for module in (1, 0)]
    shots = preparing.shots(frames, start())
    assert [(shot.frame.image_id, shot.frame.channel, shot.frame.shape) for shot in shots] == [
        (4, "image", (3, 9)),
        (5, "image", (3, 9)),
    ]
    assert [part.channel for part in shots[0].parts] == ["det/0", "det/1"]
    assert preparing.missing == 0


def test_a_module_that_did_not_come_is_counted():
    preparing = Preparing(Conditioning(geometry=TWO))
    (shot,) = preparing.shots([frame(0, "det/1")], start())
    assert shot.parts[0] is None and shot.parts[1] is not None
    assert preparing.missing == 1


def test_modules_in_another_message_are_refused_with_the_reason():
    preparing = Preparing(Conditioning(geometry=TWO))
    preparing.shots([frame(3, "det/0")], start())
    (shot,) = preparing.shots([frame(3, "det/1")], start())
    assert "image 3 came in a later message" in shot.error
    assert preparing.shots([frame(4, "det/1")], start())[0].error == ""
    assert preparing.shots([frame(3, "det/1", uid="other")], start("other"))[0].error == ""


def test_what_is_remembered_of_images_is_bounded():
    preparing = Preparing(Conditioning(geometry=TWO))
    for image_id in range(REMEMBERED_IMAGES + 10):
        preparing.shots([frame(image_id)], start())
    assert len(preparing._assembled) == REMEMBERED_IMAGES


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ([frame(0, "det/7")], "'det/7' is none of the geometry's 2 modules.*modules of"),
        ([frame(0, "left")], "'left' is none"),
        ([frame(0), frame(0, "det/1", (4, 4))], "modules of one detector are alike"),
        ([frame(0), frame(0, "det/1", SHAPE, "<u4")], "alike"),
        ([frame(0, shape=(2, 4))], "2 rows"),
        ([frame(0, dtype="<i2")], "int16"),
    ],
)
def test_what_cannot_be_assembled_says_why(frames, said):
    (shot,) = Preparing(Conditioning(geometry=TWO)).shots(frames, start())
    with pytest.raises(ConditioningError, match=said):
        raise ConditioningError(shot.error)


@pytest.mark.parametrize(
    ("channel", "names", "fixed", "module"),
    [
        ("det/1", (), ((0,), (1,)), 1),
        ("1", (), ((0,), (1,)), 1),
        ("SPB_DET_AGIPD1M-1/DET/3CH0:xtdf", (), tuple((at,) for at in range(16)), 3),
        ("SPB_DET_AGIPD1M-1/DET/15CH0:xtdf", (), tuple((at,) for at in range(16)), 15),
        ("det/5", (), ((4,), (5,)), 1),  # the geometry has but some of the modules
        ("det/1", (), ((4,), (5,)), None),
        ("det/1", (), ((), ()), 1),  # modules at paths of their own
        ("det/2", (), ((), ()), None),
        ("JNGFR01:daqOutput", (), ((0,), (1,)), None),
        ("right", ("left", "right"), ((0,), (1,)), 1),
        ("det/1", ("left", "right"), ((0,), (1,)), None),
    ],
)
def test_which_module_a_channel_is(channel, names, fixed, module):
    assert module_of(channel, names, fixed) == module


def test_the_mask_of_a_header_is_that_of_the_channel():
    mask = np.zeros(SHAPE, np.uint32)
    mask[1, 1] = 1
    preparing = Preparing(Conditioning(mask_from_header=True))
    shots = preparing.shots([frame(), frame(0, "det/1")], start(pixel_mask={"det/0": encoded(mask)}))
    assert shots[0].conditioner is not None
    assert shots[1].conditioner is None


@pytest.mark.parametrize("header", [{"pixel_mask_applied": True}, {"pixel_mask_enabled": 1}])
def test_a_mask_that_the_detector_applied_is_not_applied_again(header):
    mask = encoded(np.ones(SHAPE, np.uint32))
    (shot,) = Preparing(Conditioning(mask_from_header=True)).shots(
        [frame()], start(pixel_mask={"det/0": mask}, header=header)
    )
    assert shot.conditioner is None


def test_every_series_has_its_own_header():
    preparing = Preparing(Conditioning(mask_from_header=True, flatfield_from_header=True))
    ones, twos = encoded(np.ones(SHAPE, np.float32)), encoded(np.full(SHAPE, 2, np.float32))
    first = start(flatfield={"det/0": ones})
    second = start("next", flatfield={"det/0": twos})
    shots = [
        preparing.shots([frame(0)], first)[0],
        preparing.shots([frame(1)], first)[0],
        preparing.shots([frame(0, uid="next")], second)[0],
    ]
    assert shots[0].conditioner is shots[1].conditioner is not shots[2].conditioner
    assert len(preparing._made) == 1  # those of a series before are not kept


def test_a_start_that_comes_after_the_first_frames_counts_from_there():
    preparing = Preparing(Conditioning(mask_from_header=True))
    unannounced = SeriesStart("det", "uid", 1, None, ())
    assert preparing.shots([frame(0)], unannounced)[0].conditioner is None
    announced = start(pixel_mask={"det/0": encoded(np.ones(SHAPE, np.uint32))})
    assert preparing.shots([frame(1)], announced)[0].conditioner is not None


def test_a_conditioner_is_made_once_and_few_are_kept():
    preparing = Preparing(Conditioning(mask=np.ones(SHAPE)))
    conditioners = {id(preparing.shots([frame(at)], start(f"uid{at}"))[0].conditioner) for at in range(5)}
    assert len(conditioners) == 1
    for width in range(1, 40):
        preparing.shots([frame(0, shape=(1, width))], start())
    assert len(preparing._made) == REMEMBERED


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (encoded(np.ones((2, 2), np.uint32)), "mask of the header has 1 x 2 x 2"),
        (EncodedArray(SHAPE, "<u4", Compression.NONE, b"short"), "header cannot be read.*truncated"),
    ],
)
def test_a_header_that_does_not_fit_fails_the_images_not_the_process(mask, said):
    preparing = Preparing(Conditioning(mask_from_header=True))
    for image_id in range(2):
        (shot,) = preparing.shots([frame(image_id)], start(pixel_mask={"det/0": mask}))
        with pytest.raises(ConditioningError, match=said):
            raise ConditioningError(shot.error)


def test_the_geometry_of_a_route():
    header = {"beam_center_x": 1.0, "beam_center_y": 2.0}
    plain = Preparing().geometry(start(header=header), Selection((1, 0, 2, 4)))
    assert plain["shape"] == [2, 4]
    assert (plain["beam_center_x"], plain["beam_center_y"]) == (1, 1)
    turned = Preparing(Conditioning(orientation="mirror-columns")).geometry(start(header=header), WHOLE)
    assert turned["beam_center_x"] == 3
    assembled = Preparing(Conditioning(geometry=TWO, orientation="rotate-180")).geometry(start(header=header), WHOLE)
    assert assembled["shape"] == [3, 9]
    assert (assembled["beam_center_x"], assembled["beam_center_y"]) == (9, 3)
    assert assembled["x_pixel_size"] == pytest.approx(1e-4)


def test_the_geometry_of_frames_of_unknown_or_wrong_shape_is_not_told():
    assert Preparing().geometry(SeriesStart("det", "uid", 1, None, ()), WHOLE) == {}
    small = SeriesStart("det", "uid", 1, None, (), (2, 2))
    assert Preparing(Conditioning(geometry=TWO)).geometry(small, WHOLE) == {}
