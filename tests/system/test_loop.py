"""The serving loop with real sockets and a server of the test's own: what is accepted is published once or told."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import cbor2
import msgpack
import msgspec
import numpy as np
import pytest

from edge.inference.events import ServerChecked
from edge.pipeline.dispatch import PAUSE_NS
from streams.codecs import ANNOUNCED, ENCODERS
from streams.codecs.compression import compress
from streams.codecs.handshake import MAX_REPLAY
from streams.codecs.limits import MAX_ID
from streams.codecs.results import Result, SeriesEnded
from streams.messages import DEFAULT_CHANNEL, Compression, Part
from streams.routing import Route
from streams.simulation.simulator import Faults
from streams.sockets import dealer
from streams.subscriber import Subscriber
from tests.system.loopbench import (
    LONG,
    SECOND,
    SLOT_NBYTES,
    LoopBench,
    Taken,
    all_published,
    loop_bench,
    picture,
    series,
)
from tests.unit.pipeline.doubles import SPEC

PROTOCOLS = sorted(ANNOUNCED)
SHORT_NS = 500_000_000
"""Grace and idle time of the tests in which they must not run out."""

DRAIN_S = 0.5
NEVER_DRAINED = replace(LONG, drain_ns=int(DRAIN_S * SECOND))
FEW_SLOTS = 8 * SLOT_NBYTES
WELL_BEFORE_S = 5.0
"""Far less than the drain time of a bench that is not told otherwise."""

TWO_ROUTES = (Route("all", "sum"), Route("second", "sum", sources=("det-1",)))


@pytest.fixture(autouse=True)
def quick_handshake(monkeypatch):
    monkeypatch.setattr("streams.subscriber.HELLO_INTERVAL_MS", 20)


# The server comes and goes


@pytest.mark.parametrize("transport", ["shm", "inline"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_image_comes_back_once_with_its_own_values(protocol, transport):
    with loop_bench(protocol, transport=transport) as bench:
        bench.ready()
        taken = series(protocol, 100)
        bench.send(taken.messages)
        all_published(bench, taken)
        bench.nothing_is_left()


@pytest.mark.parametrize("completions", ["before", "after"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_that_a_lost_server_did_not_answer_are_sent_to_the_next(protocol, completions):
    with loop_bench(protocol) as bench:
        bench.answering = False
        bench.ready()
        taken = series(protocol, 40)
        bench.send(taken.messages)
        bench.asked(2)
        if completions == "before":
            bench.requests_end()
        bench.lost()
        bench.requests_end()
        bench.ready()
        bench.answering = True
        all_published(bench, taken)
        assert bench.totals.retries["sum", "unavailable"] == 2
        bench.nothing_is_left()


def test_answers_that_come_with_the_loss_of_their_server_count():
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 40)
        bench.send(taken.messages)
        bench.asked(2)
        answered = sum(request.shape[0] for request, _ in bench.server.asked)
        bench.lost()
        bench.server.answer(1)
        bench.server.answer(0)
        bench.until(lambda: len(bench.values()) == answered, "the results of a server that is gone")
        bench.ready()
        bench.answering = True
        all_published(bench, taken)
        assert not bench.totals.retries
        bench.nothing_is_left()


def test_a_request_that_ends_only_when_the_next_server_is_ready_is_sent_again(monkeypatch):
    monkeypatch.setitem(PAUSE_NS, "unavailable", SHORT_NS)
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 20)
        bench.send(taken.messages)
        bench.asked(2)
        bench.lost()
        before = bench.ready()
        bench.requests_end(before)
        bench.answering = True
        all_published(bench, taken)
        bench.lost()  # only then is it certain that nothing writes to the blocks of the first server
        bench.nothing_is_left()


def test_a_server_lost_again_and_again_under_load_costs_no_image():
    with loop_bench(memory_nbytes=FEW_SLOTS) as bench:
        bench.ready()
        taken = series("stream-v2", 200)
        for at, message in enumerate(taken.messages):
            if at in (20, 70, 150):
                bench.answering = False
                bench.send(taken.messages[at : at + 1])
                bench.asked()
                bench.requests_end()
                bench.lost()
                bench.requests_end()  # one more may have been sent meanwhile
                bench.ready()
                bench.answering = True
            else:
                bench.send([message])
        all_published(bench, taken)
        assert bench.totals.server_epoch == 4
        bench.nothing_is_left()


@pytest.mark.parametrize("gone", [True, False])
def test_a_model_that_never_answers_costs_no_image_and_no_memory(gone):
    with loop_bench(memory_nbytes=FEW_SLOTS) as bench:
        bench.answering = False
        taken = series("stream-v2", 40)
        bench.send(taken.messages)

        def every_block_is_taken() -> bool:
            while bench.server.asked:
                bench.server.fail("overloaded", settled=False)
            return (
                bench.totals.retries["sum", "overloaded"] == bench.blocks * bench.epoch
                and not bench.runners[0].outputs.free
            )

        for _ in range(3):
            bench.ready()
            bench.until(every_block_is_taken, "requests that take every output block")
            bench.lost(gone)
        bench.ready()
        bench.answering = True
        all_published(bench, taken)
        assert bench.totals.retries["sum", "overloaded"] == 3 * bench.blocks
        bench.nothing_is_left()


def test_a_server_that_comes_back_is_asked_at_once(monkeypatch):
    monkeypatch.setitem(PAUSE_NS, "unavailable", 60 * SECOND)
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 20)
        bench.send(taken.messages)
        bench.asked(2)
        bench.requests_end()
        bench.lost()
        bench.ready()
        bench.answering = True
        all_published(bench, taken)
        bench.nothing_is_left()


def test_time_without_a_server_does_not_use_up_the_patience_with_a_busy_one(monkeypatch):
    monkeypatch.setattr("edge.pipeline.dispatch.PATIENCE_NS", SHORT_NS)
    with loop_bench("stream-v2", "stream-v2", patience=replace(LONG, idle_ns=2 * SHORT_NS)) as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 4)
        bench.send(taken.messages)
        bench.asked()
        bench.requests_end()
        bench.lost()
        bench.send(series("stream-v2", 1, number=2).messages[:1], source=1)
        assert bench.end_of("sum", "det-1", 2).reason == "idle"  # more than the patience has gone by
        bench.ready()
        bench.asked()
        bench.server.fail("overloaded")
        bench.answering = True
        all_published(bench, taken)
        bench.nothing_is_left()


# Images wait for memory


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_source_without_slots_is_not_read_and_loses_nothing(protocol):
    with loop_bench(protocol, memory_nbytes=FEW_SLOTS) as bench:
        taken = series(protocol, 60)
        bench.send(taken.messages)
        bench.full()
        slots = sum(bench.intakes[0].arena.usage())
        assert bench.totals.messages["det-0"] == 1 + slots + 1  # the start message, and one image that waits
        bench.ready()
        all_published(bench, taken)
        bench.nothing_is_left()


def test_a_detector_whose_images_find_no_memory_has_to_wait():
    with loop_bench(memory_nbytes=4 * 2 * 256 * 256, queued=1) as bench:
        taken = series("stream-v2", 60, shape=(256, 256), compression=Compression.NONE)
        sent = 0
        while sent < len(taken.messages) and bench.detectors[0].send(taken.messages[sent].parts, 200):
            sent += 1
        assert sent < len(taken.messages)
        bench.ready()
        bench.send(taken.messages[sent:])
        all_published(bench, taken)
        bench.nothing_is_left()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_open_series_does_not_become_idle_while_its_source_is_blocked(protocol):
    with loop_bench(protocol, protocol, memory_nbytes=FEW_SLOTS, patience=replace(LONG, idle_ns=SHORT_NS)) as bench:
        taken = series(protocol, 40)
        bench.send(taken.messages)
        bench.full()
        bench.send(series(protocol, 5, number=2).messages[:1], source=1)
        assert bench.end_of("sum", "det-1", 2).reason == "idle"  # opened later, and its source is read
        bench.ready()
        all_published(bench, taken)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_grace_does_not_run_out_while_the_source_is_blocked(protocol):
    """The end message was taken before the last images, from another connection of the detector."""
    with loop_bench(protocol, protocol, memory_nbytes=FEW_SLOTS, patience=replace(LONG, grace_ns=SHORT_NS)) as bench:
        taken = series(protocol, 40)
        *most, end = taken.messages
        bench.send([*most[:5], end, *most[5:]])
        bench.full()
        start, *_, end = series(protocol, 5, number=2).messages
        bench.send([start, end], source=1)
        assert bench.end_of("sum", "det-1", 2).reason == "grace_over"
        bench.ready()
        all_published(bench, taken)


def test_the_loop_sleeps_while_a_source_is_blocked():
    with loop_bench(
        "stream-v2", "stream-v2", memory_nbytes=FEW_SLOTS, patience=replace(LONG, idle_ns=2 * SHORT_NS)
    ) as bench:
        bench.send(series("stream-v2", 60).messages)
        bench.full()
        bench.send(series("stream-v2", 5, number=2).messages[:1], source=1)
        bench.taken_in(1, source=1)
        before_s = bench.cpu_s
        bench.end_of("sum", "det-1", 2)  # when its idle time is over
        assert bench.cpu_s - before_s < SHORT_NS / SECOND / 2


def test_a_blocked_source_does_not_hold_up_another():
    routes = [Route(f"of-{at}", "sum", sources=(f"det-{at}",)) for at in (0, 1)]
    with loop_bench("stream-v2", "simplon-v1", routes=routes, memory_nbytes=FEW_SLOTS) as bench:
        bench.answering = False
        bench.ready()
        held, flowing = series("stream-v2", 40), series("simplon-v1", 60, number=2)
        bench.send(held.messages)
        bench.full()

        def second_ended() -> bool:
            for at, (request, _) in reversed(list(enumerate(bench.server.asked))):
                if request.frame.region == "frames-1":
                    bench.server.answer(at)
            return ("of-1", "det-1", 2) in bench.ended

        bench.send(flowing.messages, source=1)
        bench.until(second_ended, "the end of the series of the other source")
        assert bench.values("of-1", "det-1", 2) == flowing.values
        assert bench.intakes[0].blocked
        bench.answering = True
        bench.end_of("of-0", "det-0", 1)
        assert bench.values("of-0", "det-0", 1) == held.values
        bench.nothing_is_left()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_shape_of_the_images_changes_between_series_under_load(protocol):
    with loop_bench(protocol, memory_nbytes=4096) as bench:
        bench.ready()
        several = [
            series(protocol, 60, number=1),
            series(protocol, 60, number=2, shape=(33, 17), dtype="uint8"),
            series(protocol, 60, number=3, shape=(6, 5), dtype="uint32"),
            series(protocol, 60, number=4),
        ]
        for taken in several:
            bench.send(taken.messages)
        for taken in several:
            all_published(bench, taken)
        bench.nothing_is_left()


def test_a_change_of_shape_waits_for_memory_that_a_server_may_still_read():
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        first, second = series("stream-v2", 4), series("stream-v2", 20, number=2, shape=(33, 17))
        bench.send(first.messages)
        bench.asked()
        bench.server.fail("overloaded", settled=False)
        bench.answering = True
        all_published(bench, first)
        bench.send(second.messages)
        bench.blocked()
        bench.lost()
        bench.ready()
        all_published(bench, second)
        bench.nothing_is_left()


# What arrives


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("apart", [True, False])
def test_batches_fill_though_channels_alternate(announced, apart):
    channels = ("low", "high")
    faults = Faults(no_start=not announced)  # then nobody knows whether all is in, and the end waits
    with loop_bench(patience=LONG if announced else replace(LONG, grace_ns=SHORT_NS)) as bench:
        bench.answering = False
        taken = series("stream-v2", 40, channels=channels, faults=faults)
        messages = messages_by_channel(taken) if apart else taken.messages
        bench.ready()
        bench.send(messages)
        if apart and not announced:  # memory is carved anew when the second channel shows
            bench.blocked()
            bench.asked()
            bench.server.answer()
        bench.taken_in(len(messages))
        bench.answering = True
        ended = bench.end_of()
        assert bench.values() == taken.values
        assert ended.verdict == ("complete" if announced else "unknown")
        requests = sum(bench.totals.batches["sum"].counts)
        assert 80 / SPEC.max_batch <= requests <= 80 / SPEC.max_batch + 4
        bench.nothing_is_left()


def messages_by_channel(taken: Taken) -> list:
    """The same series with a message for each image, as from a detector that sends channels apart."""
    encoders = {
        channel: ENCODERS["stream-v2"](msgspec.structs.replace(taken.acquisition, channels=(channel,)))
        for channel in taken.acquisition.channels
    }
    messages = []
    for message in taken.messages:
        if message.image_id is None:
            messages.append(message)
            continue
        for channel, encoder in encoders.items():
            pixels = picture(1, message.image_id, channel, taken.acquisition.shape, taken.acquisition.dtype)
            parts = encoder.image(message.image_id, {channel: pixels})
            messages.append(msgspec.structs.replace(message, parts=parts))
    return messages


def test_two_sources_and_two_routes_have_an_account_each():
    with loop_bench("simplon-v1", "stream-v2", routes=TWO_ROUTES) as bench:
        bench.ready()
        several = [series("simplon-v1", 50), series("stream-v2", 70, number=2)]
        for first, second in zip(*(taken.messages for taken in several), strict=False):
            bench.send([first], source=0)
            bench.send([second], source=1)
        bench.send(several[1].messages[52:], source=1)
        all_published(bench, several[0], "all", "det-0")
        all_published(bench, several[1], "all", "det-1")
        all_published(bench, several[1], "second", "det-1")
        bench.nothing_is_left()
        assert ("second", "det-0", 1) not in bench.ended  # a route of the other source


def test_frames_that_a_model_failed_go_again_when_it_proves_sound():
    with loop_bench() as bench:
        bench.answering = False
        taken = series("stream-v2", 4)
        bench.send(taken.messages)
        bench.taken_in(len(taken.messages))
        bench.ready()
        bench.asked(1)
        bench.server.fail("failed")
        bench.until(lambda: bool(bench.server.doubts), "the doubt about the model")
        bench.events.put(ServerChecked(bench.epoch, time.monotonic_ns()))
        bench.answering = True
        all_published(bench, taken)
        bench.nothing_is_left()


def test_an_error_on_one_route_leaves_the_other_alone():
    with loop_bench(routes=[Route("first", "sum"), Route("second", "sum")]) as bench:
        bench.answering = False
        taken = series("stream-v2", 4)
        bench.send(taken.messages)
        bench.taken_in(len(taken.messages))
        bench.ready()
        bench.asked(2)
        (failing,) = (
            at for at, (request, _) in enumerate(bench.server.asked) if request.outputs["total"].region == "outputs-0"
        )
        bench.server.fail("bad_request", failing)
        bench.answering = True
        all_published(bench, taken, "second")
        assert bench.end_of("first").account["failed"] == {"bad_request": 4}
        bench.nothing_is_left()


@pytest.mark.parametrize("shape", [(12, 10), (33, 17)])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stray_image_of_another_series_does_not_end_the_running_one(protocol, shape):
    with loop_bench(protocol) as bench:
        bench.ready()
        taken, other = series(protocol, 40), series(protocol, 3, number=9, shape=shape)
        bench.send(taken.messages[:20])
        bench.send(other.images[1:2])
        bench.send(taken.messages[20:])
        all_published(bench, taken)
        bench.nothing_is_left()
        stray = bench.end_of("sum", "det-0", 9)
        assert (stray.reason, stray.account["published"]) == ("shutdown", 1)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_repeated_images_are_published_once(protocol):
    with loop_bench(protocol) as bench:
        bench.ready()
        taken = series(protocol, 30, faults=Faults(repeated=frozenset(range(0, 30, 3))))
        bench.send(taken.messages)
        assert all_published(bench, taken).arrivals["duplicate"] == 10
        bench.nothing_is_left()


def test_images_that_overtake_the_start_message_belong_to_its_series():
    with loop_bench() as bench:
        bench.ready()
        taken = series("stream-v2", 30)
        start, *images = taken.messages
        bench.send([*images[:3], start, *images[3:]])
        all_published(bench, taken)
        assert [notice.announced for notice in bench.started] == [False, True]
        bench.nothing_is_left()


# What a stranger sends

HUGE = b"9" * 400


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


def pixels_of(taken: Taken, image_id: int) -> dict[str, np.ndarray]:
    acquisition = taken.acquisition
    pixels = picture(acquisition.series_id, image_id, DEFAULT_CHANNEL, acquisition.shape, acquisition.dtype)
    return {DEFAULT_CHANNEL: pixels}


def image_with_appendix(taken: Taken, image_id: int, appendix: bytes) -> list[Part]:
    """A SIMPLON image, right but for what is attached."""
    return [*ENCODERS["simplon-v1"](taken.acquisition).image(image_id, pixels_of(taken, image_id)), appendix]


def image_with_user_data(taken: Taken, image_id: int, user_data: bytes) -> list[Part]:
    """A Stream V2 image, right but for its user data, which is CBOR or worse."""
    marker = "to be replaced"
    (part,) = ENCODERS["stream-v2"](taken.acquisition).image(image_id, pixels_of(taken, image_id), marker)
    return [bytes(part).replace(cbor2.dumps(marker), user_data)]


def header_with(taken: Taken, attached: bytes) -> list[Part]:
    ((head, config),) = ENCODERS["simplon-v1"](taken.acquisition).start()
    return [head, config, attached]


def configuration_with(taken: Taken, attached: bytes) -> list[Part]:
    ((head, config),) = ENCODERS["simplon-v1"](taken.acquisition).start()
    return [head, bytes(config).replace(b'"sensor_material":"Si"', b'"sensor_material":' + attached)]


def start_with(taken: Taken, **changes: object) -> list[Part]:
    ((part,),) = ENCODERS["stream-v2"](taken.acquisition).start()
    return [cbor2.dumps(cbor2.CBORTag(55799, dict(cbor2.loads(part)) | changes))]


SIMPLON: dict[str, Callable[[Taken, int], list[Part]]] = {
    "huge position": lambda taken, at: image_with_appendix(taken, at, b'{"position":{"x":' + HUGE + b"}}"),
    "huge negative position": lambda taken, at: image_with_appendix(taken, at, b'{"position":{"x":-' + HUGE + b"}}"),
    "nested image appendix": lambda taken, at: image_with_appendix(taken, at, nested(989)),
    "nested position": lambda taken, at: image_with_appendix(taken, at, b'{"position":' + nested(900) + b"}"),
    "nested header appendix": lambda taken, _: header_with(taken, nested(989)),
    "huge number in the header appendix": lambda taken, _: header_with(taken, HUGE),
    "nested configuration": lambda taken, _: configuration_with(taken, nested(989)),
    "huge number in the configuration": lambda taken, _: configuration_with(taken, HUGE),
}
STREAM_V2: dict[str, Callable[[Taken, int], list[Part]]] = {
    "more images than can be": lambda taken, _: start_with(taken, number_of_images=MAX_ID, channels=["a", "b", "c"]),
    "huge number in the start": lambda taken, _: start_with(taken, user_data={"x": 10**300}),
    "huge position": lambda taken, at: image_with_user_data(taken, at, cbor2.dumps({"position": {"x": 10**300}})),
    "unsigned position": lambda taken, at: image_with_user_data(taken, at, cbor2.dumps({"position": {"x": 2**64 - 1}})),
    "negative position": lambda taken, at: image_with_user_data(taken, at, cbor2.dumps({"position": {"x": -(2**64)}})),
    "a number of a megabyte": lambda taken, at: image_with_user_data(
        taken, at, b"\xc2\x5a\0\x10\0\0" + b"\xff" * 2**20
    ),
    "nested user data": lambda taken, at: image_with_user_data(taken, at, b"\x81" * 989 + b"\xf6"),
    "nested tags": lambda taken, at: image_with_user_data(taken, at, b"\xc1" * 989 + b"\xf6"),
    "nested maps": lambda taken, at: image_with_user_data(taken, at, b"\xa1\x61x" * 989 + b"\xf6"),
}
HOSTILE = {"simplon-v1": SIMPLON, "stream-v2": STREAM_V2}
EACH_HOSTILE = [(protocol, name) for protocol, makers in HOSTILE.items() for name in makers]


@pytest.mark.parametrize(("protocol", "name"), EACH_HOSTILE)
def test_a_hostile_message_in_the_middle_of_a_series_harms_nothing(protocol, name):
    with loop_bench(protocol) as bench:
        bench.ready()
        taken = series(protocol, 12)
        bench.send(taken.messages[:6])
        bench.send_parts(HOSTILE[protocol][name](taken, 5))
        bench.send(taken.messages[6:])
        all_published(bench, taken)
        position = bench.results["sum", "det-0", 1][DEFAULT_CHANNEL, 5].position
        assert position is None
        bench.nothing_is_left()


@pytest.mark.parametrize(("protocol", "name"), EACH_HOSTILE)
def test_a_hostile_message_that_opens_a_series_harms_nothing(protocol, name):
    with loop_bench(protocol) as bench:
        bench.ready()
        stranger, taken = series(protocol, 3, number=7), series(protocol, 12)
        bench.send_parts(HOSTILE[protocol][name](stranger, 1))
        bench.send(stranger.images)
        bench.send(taken.messages)
        all_published(bench, taken)
        bench.nothing_is_left()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_hostile_messages_one_after_another_harm_nothing(protocol):
    makers = list(HOSTILE[protocol].values())
    with loop_bench(protocol) as bench:
        bench.ready()
        taken = series(protocol, 30)
        for message in taken.messages:
            bench.send([message])
            if message.image_id is not None:
                bench.send_parts(makers[message.image_id % len(makers)](taken, message.image_id))
        all_published(bench, taken)
        bench.nothing_is_left()


def test_user_data_of_any_depth_costs_no_image():
    """Parsers give up at a depth that depends on the depth of their callers."""
    with loop_bench("simplon-v1") as bench:
        bench.ready()
        taken = series("simplon-v1", 110)
        start, *images, end = taken.messages
        bench.send([start])
        for image in images:
            bench.send_parts(image_with_appendix(taken, image.image_id, nested(900 + image.image_id)))
        bench.send([end])
        all_published(bench, taken)
        bench.nothing_is_left()


def test_header_data_of_any_depth_is_published_or_left_out():
    depths = [*range(10, 900, 20), *range(900, 1000)]
    with loop_bench("simplon-v1") as bench:
        bench.ready()
        for number, depth in enumerate(depths, start=2):
            bench.send_parts(header_with(series("simplon-v1", 0, number), nested(depth)))
        taken = series("simplon-v1", 12)
        bench.send(taken.messages)
        all_published(bench, taken)
        attached = [notice.user_data for notice in bench.started if notice.series_id > 1]
        assert len(attached) == len(depths)
        assert attached[0] is not None
        bench.nothing_is_left()


ABSURD = [(2**63 - 1, 2**63 - 1), (2**64 - 1, 2**64 - 1), (-(2**63), 2**64 - 1), (0, 2**64 - 1), (0, -1), (5, 2)]


@pytest.mark.parametrize(("first", "last"), ABSURD)
def test_an_absurd_range_to_send_again_is_answered_and_harms_nothing(first, last):
    with loop_bench() as bench:
        bench.ready()
        taken = series("stream-v2", 20)
        bench.send(taken.messages[:10])
        bench.until(lambda: len(bench.values()) == 9, "nine results")
        stranger = dealer(bench.ctx)
        stranger.connect(bench.handshake)
        stranger.send([msgpack.packb({"op": "replay", "route": "sum", "first": first, "last": last})])
        answers: list[dict] = []

        def closing_word() -> bool:
            parts = stranger.receive()
            if parts is not None:
                answers.append(msgpack.unpackb(parts[0]))
            return bool(answers) and answers[-1]["op"] == "replayed"

        bench.until(closing_word, "the word that closes the answer")
        asked_for = [seq for seq in range(10) if first <= seq <= min(last, first + MAX_REPLAY - 1)]
        assert answers[-1]["sent"] == len(answers) - 1 == len(asked_for)
        bench.send(taken.messages[10:])
        all_published(bench, taken)
        bench.nothing_is_left()


def test_garbage_at_the_handshake_is_counted_and_others_are_served():
    garbage = [[b""], [b"x"], [b"\xc1"], [b"\x91" * 4000], [b"\xdf" * 4000], [b"\x81\x90\x01"], [b"a", b"b"]]
    garbage += [[msgpack.packb({"op": "replay", "route": "sum", "first": 0.5, "last": "x"})]]
    garbage += [[msgpack.packb({"op": "hello", "token": b"x" * 65})], [msgpack.packb({b"op": 2**64 - 1})]]
    with loop_bench() as bench:
        bench.ready()
        taken = series("stream-v2", 20)
        bench.send(taken.messages[:10])
        stranger = dealer(bench.ctx)
        stranger.connect(bench.handshake)
        for parts in garbage:
            assert stranger.send(parts, 1000)
        bench.until(lambda: bench.totals.refused_requests == len(garbage), "a count of every one")
        Subscriber(bench.ctx, bench.handshake).close()
        bench.send(taken.messages[10:])
        all_published(bench, taken)
        bench.nothing_is_left()


# The stop


def test_a_stop_finishes_what_is_in_flight_what_waits_and_what_has_no_slot():
    with loop_bench(memory_nbytes=FEW_SLOTS, limit=1) as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 40)
        bench.send(taken.messages)
        bench.blocked()
        bench.asked()
        bench.events.stop()
        bench.answering = True
        assert bench.stop() < WELL_BEFORE_S
        images = bench.totals.messages["det-0"] - 1
        ended = bench.end_of()
        assert (ended.reason, ended.verdict, ended.account["dropped"]) == ("shutdown", "incomplete", {})
        assert ended.account["published"] == images < 40
        assert bench.values().items() <= taken.values.items()
        bench.nothing_is_left()


def test_a_stop_tells_every_series_and_route_what_was_given_up():
    with loop_bench(
        "stream-v2", "simplon-v1", routes=TWO_ROUTES, memory_nbytes=FEW_SLOTS, limit=1, patience=NEVER_DRAINED
    ) as bench:
        bench.answering = False
        bench.ready()
        stray = series("stream-v2", 2, number=9)
        bench.send(stray.images[:1], source=0)
        bench.send(series("stream-v2", 40).messages, source=0)
        bench.send(series("simplon-v1", 40, number=2).messages, source=1)
        bench.blocked(0)
        bench.blocked(1)
        bench.asked(2)
        assert bench.stop() < WELL_BEFORE_S
        given_up = {
            key: (bench.end_of(*key).reason, bench.end_of(*key).account["dropped"].get("shutdown", 0))
            for key in [("all", "det-0", 9), ("all", "det-0", 1), ("all", "det-1", 2), ("second", "det-1", 2)]
        }
        images = {source: bench.totals.messages[source] - 1 for source in ("det-0", "det-1")}
        assert given_up == {
            ("all", "det-0", 9): ("superseded", 1),
            ("all", "det-0", 1): ("shutdown", images["det-0"] - 1),
            ("all", "det-1", 2): ("shutdown", images["det-1"]),
            ("second", "det-1", 2): ("shutdown", images["det-1"]),
        }
        assert bench.results == {}


def test_a_stop_waits_no_longer_than_the_drain_time_and_sleeps_meanwhile():
    with loop_bench(patience=NEVER_DRAINED) as bench:
        bench.answering = False
        bench.ready()
        bench.send(series("stream-v2", 40).messages)
        bench.asked(2)
        stranger = dealer(bench.ctx)
        stranger.connect(bench.handshake)
        before_s = bench.cpu_s
        assert stranger.send([b"a question that waits while the loop drains"], 1000)
        assert DRAIN_S <= bench.stop() < WELL_BEFORE_S
        assert bench.cpu_s - before_s < DRAIN_S / 3


def test_a_stop_without_a_server_does_not_wait():
    with loop_bench(memory_nbytes=FEW_SLOTS) as bench:
        bench.send(series("stream-v2", 40).messages)
        bench.blocked()
        assert bench.stop() < WELL_BEFORE_S
        account = bench.end_of().account
        assert account["dropped"] == {"shutdown": account["received"]}
        assert account["received"] == bench.totals.messages["det-0"] - 1


def test_a_server_lost_during_the_drain_ends_it():
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        bench.send(series("stream-v2", 40).messages)
        bench.asked(2)
        bench.events.stop()
        bench.lost()
        assert bench.stop() < WELL_BEFORE_S
        account = bench.end_of().account
        assert account["dropped"] == {"shutdown": account["received"]}


def test_a_stop_closes_a_series_of_which_nothing_is_in_flight():
    with loop_bench() as bench:
        bench.ready()
        bench.send(series("stream-v2", 40).messages[:21])
        bench.until(lambda: len(bench.values()) == 20, "twenty results")
        assert bench.stop() < WELL_BEFORE_S
        ended = bench.end_of()
        assert (ended.reason, ended.verdict, ended.arrivals["missing"]) == ("shutdown", "incomplete", 20)
        bench.nothing_is_left()


def test_a_series_that_ended_before_the_stop_is_complete_when_it_is_drained():
    with loop_bench(limit=1) as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 40)
        bench.send(taken.messages)
        bench.taken_in(len(taken.messages))
        bench.events.stop()
        bench.answering = True
        bench.stop()
        all_published(bench, taken)
        bench.nothing_is_left()


def test_a_subscriber_that_comes_while_the_loop_drains_gets_the_rest():
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 40)
        bench.send(taken.messages)
        bench.taken_in(len(taken.messages))
        bench.asked(2)
        bench.events.stop()
        with Subscriber(bench.ctx, bench.handshake) as late:
            bench.answering = True
            assert bench.stop() < WELL_BEFORE_S
            notices = [late.receive(5) for _ in range(len(taken.values) + 1)]
        kinds = Counter(type(received[0]) for received in notices if received is not None)
        assert kinds == {Result: 40, SeriesEnded: 1}


# What is told


def test_a_subscriber_that_lost_the_last_messages_recovers_them():
    with loop_bench() as bench:
        bench.answering = False
        bench.ready()
        taken = series("stream-v2", 1)
        bench.send(taken.messages)
        bench.until(lambda: bench.started, "the start of the series")
        bench.asked()
        bench.server.answer()
        lost: list[bytes] = []
        while len(lost) < 2:  # the result and the end of the series
            parts = bench.subscriber._results.receive(5000)
            assert parts is not None
            if msgpack.unpackb(parts[1])["type"] != "heartbeat":
                lost.append(msgpack.unpackb(parts[1])["type"])
        assert lost == ["result", "series_end"]
        all_published(bench, taken)
        assert bench.results["sum", "det-0", 1][DEFAULT_CHANNEL, 0].recovered
        bench.nothing_is_left()


def totals_say_what_the_accounts_say(bench: LoopBench) -> None:
    """On a bench whose series have all ended, and of which no frame came after its series' end."""
    totals, ends = bench.totals, bench.ended.values()
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for ended in ends:
        for outcome in ("unwanted", "published"):
            outcomes[ended.route, outcome, ""] += ended.account[outcome]
        for outcome in ("dropped", "failed"):
            for reason, count in ended.account[outcome].items():
                outcomes[ended.route, outcome, reason] += count
    assert totals.outcomes == outcomes
    assert totals.series == Counter((ended.route, ended.verdict) for ended in ends)
    arrivals: Counter[tuple[str, str]] = Counter()
    for ended in {(ended.source, ended.series_uid): ended for ended in ends}.values():
        arrivals[ended.source, "new"] += ended.arrivals["received"]
        for arrival in ("duplicate", "late", "unexpected", "refused"):
            arrivals[ended.source, arrival] += ended.arrivals[arrival]
    assert totals.arrivals == arrivals
    for runner in bench.runners:
        route = runner.route.name
        latency = totals.latency.get(route)
        assert outcomes[route, "published", ""] == (0 if latency is None else sum(latency.counts))


def with_broken_pixels(taken: Taken, image_id: int) -> list[Part]:
    """An image whose headers are right and whose compressed bytes are not."""
    pixels = pixels_of(taken, image_id)
    blob = bytes(compress(pixels[DEFAULT_CHANNEL], taken.acquisition.compression))
    parts = ENCODERS["stream-v2"](taken.acquisition).image(image_id, pixels)
    return [bytes(part).replace(blob, blob[:12] + b"\xff" * (len(blob) - 12)) for part in parts]


def test_totals_are_the_sums_of_the_accounts():
    grace = replace(LONG, grace_ns=SHORT_NS)
    with loop_bench("stream-v2", "simplon-v1", routes=TWO_ROUTES, limit=1, patience=grace) as bench:
        bench.ready()
        faults = Faults(lost=frozenset({3}), repeated=frozenset({5, 6}), corrupted=frozenset({8}))
        faulty, whole = series("stream-v2", 30, faults=faults), series("simplon-v1", 40, number=2)
        broken = with_broken_pixels(faulty, 11)
        bench.send(faulty.messages[:11])
        bench.send_parts(broken)
        bench.send(series("stream-v2", 50).images[45:])
        bench.send(faulty.messages[11:])
        bench.end_of("all", "det-0", 1)
        bench.answering = False
        bench.send(whole.messages, source=1)
        bench.taken_in(len(whole.messages), source=1)
        bench.asked(2)
        retried = bench.server.asked[0][0].shape[0]
        bench.server.fail("overloaded")
        failed = bench.server.asked[0][0].shape[0]
        bench.server.fail("bad_request")
        bench.answering = True
        ends = [bench.end_of(*key) for key in (("all", "det-0", 1), ("all", "det-1", 2), ("second", "det-1", 2))]
        assert sum(ended.account["failed"].get("bad_request", 0) for ended in ends) == failed
        first = ends[0]
        assert (first.arrivals["duplicate"], first.arrivals["unexpected"], first.arrivals["missing"]) == (3, 5, 2)
        assert sum(first.account["failed"].values()) == 1
        bench.nothing_is_left()
        totals_say_what_the_accounts_say(bench)
        assert sum(bench.totals.malformed.values()) == 1
        batched = sum(tally.sum for tally in bench.totals.batches.values())
        settled_by_server = sum(bench.totals.outcomes[route, "published", ""] for route in ("all", "second")) + failed
        assert batched == settled_by_server + retried


def test_totals_are_the_sums_of_the_accounts_after_a_stop():
    with loop_bench(
        "stream-v2", "simplon-v1", routes=TWO_ROUTES, memory_nbytes=FEW_SLOTS, patience=NEVER_DRAINED
    ) as bench:
        bench.ready()
        bench.send(series("stream-v2", 40).messages)
        bench.until(lambda: len(bench.values("all")) > 9, "ten results")
        bench.answering = False
        bench.send(series("simplon-v1", 40, number=2).messages, source=1)
        bench.blocked(1)
        bench.stop()
        for key in (("all", "det-0", 1), ("all", "det-1", 2), ("second", "det-1", 2)):
            bench.end_of(*key)
        totals_say_what_the_accounts_say(bench)
        assert bench.totals.outcomes["all", "dropped", "shutdown"] > 0


def test_gauges_follow_what_waits_and_come_back_to_nothing():
    with loop_bench(memory_nbytes=FEW_SLOTS, limit=1) as bench:

        def gauges() -> tuple[int | None, ...]:
            totals = bench.totals
            slots = (totals.slots.get(("det-0", state)) for state in ("free", "taken"))
            return (*slots, totals.waiting.get("sum"), totals.requests_in_flight.get("sum"))

        bench.answering = False
        bench.send(series("stream-v2", 40).messages)
        bench.blocked()
        slots = sum(bench.intakes[0].arena.usage())
        bench.until(lambda: gauges() == (0, slots, slots, 0), "full gauges")
        bench.ready()
        bench.until(lambda: gauges() == (0, slots, slots - SPEC.max_batch, 1), "a request in flight")
        bench.answering = True
        bench.until(lambda: gauges() == (slots, 0, 0, 0), "empty gauges")
        bench.nothing_is_left()
