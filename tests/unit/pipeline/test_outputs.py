from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.config.tables import RouteConfig
from edge.models.registry import MODELS
from edge.models.spec import ANY, ModelSpec, TensorSpec
from edge.pipeline.outputs import REMEMBERED, OutputBlocks, depends_on_frame, outputs_nbytes
from tests.unit.pipeline.doubles import SPEC, HeapMemory

WHOLE = ModelSpec(
    "whole", (ANY, ANY), (TensorSpec("image", "float32", (ANY, ANY), "1"), TensorSpec("sum", "int32", (1,), "1")), 8
)


def test_any_is_the_frames_height_then_its_width():
    assert WHOLE.outputs[0].shape_for((3, 5)) == (3, 5)
    assert WHOLE.outputs[1].shape_for((3, 5)) == (1,)
    assert depends_on_frame(WHOLE) and not depends_on_frame(SPEC)


@given(height=st.integers(1, 40), width=st.integers(1, 40), kibibytes=st.integers(1, 64), count=st.integers(1, 6))
def test_a_batch_of_the_capacity_fits_its_own_block(height, width, kibibytes, count):
    memory = HeapMemory("outputs", kibibytes << 10)
    blocks = OutputBlocks(memory, WHOLE, count)
    frames = blocks.capacity((height, width))
    size = memory.nbytes // count
    assert frames <= WHOLE.max_batch
    assert frames == WHOLE.max_batch or outputs_nbytes(WHOLE, (height, width), frames + 1) > size - 64
    if not frames:
        return
    taken = sorted(
        (span.offset, span.offset + span.nbytes)
        for block in range(count)
        for span in blocks.spans(block, (height, width), frames).values()
    )
    assert taken[0][0] >= 0 and taken[-1][1] <= memory.nbytes
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))


def test_what_is_read_is_a_copy_of_what_was_written():
    memory = HeapMemory("outputs", 4096)
    blocks = OutputBlocks(memory, WHOLE, 2)
    block = blocks.take()
    for name, span in blocks.spans(block, (2, 3), 2).items():
        dtype = {"image": np.float32, "sum": np.int32}[name]
        memory.view[span.offset : span.offset + span.nbytes].view(dtype)[:] = np.arange(span.nbytes // 4)
    read = blocks.read(block, (2, 3), 2)
    memory.view[:] = 0
    assert read["image"].tolist() == np.arange(12.0).reshape(2, 2, 3).tolist()
    assert read["sum"].tolist() == [[0], [1]]
    assert blocks.free == 1
    blocks.give_back(block)
    assert blocks.free == 2


def test_series_of_many_sizes_do_not_mix_up_their_layouts():
    blocks = OutputBlocks(HeapMemory("outputs", 1 << 16), WHOLE, 2)
    fresh = {size: OutputBlocks(HeapMemory("outputs", 1 << 16), WHOLE, 2) for size in range(1, 3 * REMEMBERED)}
    for size in (*fresh, *fresh):
        assert blocks.capacity((size, 7)) == fresh[size].capacity((size, 7))
        assert blocks.spans(1, (size, 7), 2) == fresh[size].spans(1, (size, 7), 2)


def test_frames_of_four_megapixels_fit_the_default_memory():
    """EIGER 4M through `denoise`, whose answer is eight bytes a pixel, in the blocks that a route has by default."""
    route = RouteConfig("route", "denoise")
    blocks = OutputBlocks(
        HeapMemory("outputs", route.output_mib << 20), MODELS["denoise"], 2 * route.requests_in_flight
    )
    assert blocks.capacity((2162, 2068)) >= 1
    assert blocks.capacity((128, 128)) == MODELS["denoise"].max_batch
