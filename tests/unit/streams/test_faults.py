"""Faults to order: what leaves, and that the truth about it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import ANNOUNCED, DECODERS, ENCODERS, PROTOCOLS
from streams.messages import Absent, Frame, SeriesStart
from streams.simulation.faultline import OVERTAKING, FaultLine
from streams.simulation.faults import FAULTS, Fault, Faults, read_fault
from streams.simulation.onwire import OnWire
from streams.simulation.simulator import STALE, Simulation, pixels_of
from streams.simulation.truth import truth_of
from tests.unit.streams.test_simulator import acquisition, image

IMAGES = 40


def wire(series: int = 0, images: int = IMAGES) -> list[OnWire]:
    """A series of one part a message, of two bytes a part."""
    middle = [OnWire([b"head", bytes(8) + n.to_bytes(2)], n, 1, "image", series) for n in range(images)]
    return [OnWire([b"start"], kind="start", series=series), *middle, OnWire([b"end"], kind="end", series=series)]


def through(*texts: str, seed: int = 0, messages: list[OnWire] | None = None) -> list[OnWire]:
    line = FaultLine(Faults(orders=tuple(map(read_fault, texts)), seed=seed))
    passed = [one for message in messages or wire() for one in line.feed(message)]
    return passed + line.rest()


def ids(messages: list[OnWire]) -> list[int]:
    return [message.image_id for message in messages if message.image_id is not None]


def kinds(messages: list[OnWire]) -> list[str]:
    return [message.kind for message in messages]


def test_without_orders_all_pass_untouched():
    assert through() == wire()


@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if not kind.plans])
def test_the_same_seed_gives_the_same_faults(name):
    text = name if FAULTS[name].whole else f"{name}=0.5"
    assert through(text, seed=1) == through(text, seed=1)
    if not FAULTS[name].whole:
        assert through(text, seed=1) != through(text, seed=2)


def test_images_are_dropped_at_the_rate():
    got = ids(through("drop=0.25", messages=wire(images=4000)))
    assert 2900 < len(got) < 3100
    assert got == sorted(set(got))
    assert ids(through("drop=1")) == []
    assert ids(through("drop=0")) == list(range(IMAGES))


def test_the_first_and_the_last_are_dropped_in_each_series():
    two = wire(0) + wire(1)
    assert ids(through("drop-first=2", messages=two)) == [*range(2, IMAGES)] * 2
    assert ids(through("drop-last=3", messages=two)) == [*range(IMAGES - 3)] * 2
    bare = [message for message in two if message.kind == "image"]
    assert ids(through("drop-last=3", messages=bare)) == [*range(IMAGES - 3)] * 2
    assert kinds(through("drop-last=3")) == ["start", *["image"] * (IMAGES - 3), "end"]


def test_duplicates_come_soon_and_never_after_the_end():
    sent = through("duplicate=0.5", messages=wire(0) + wire(1))
    for series in (0, 1):
        mine = [message for message in sent if message.series == series]
        assert mine[0].kind == "start" and mine[-1].kind == "end"
        assert sorted(set(ids(mine))) == list(range(IMAGES)) and len(ids(mine)) > IMAGES + 5
        assert sum(message.repeat for message in mine) == len(ids(mine)) - IMAGES
    first = {message.image_id: at for at, message in enumerate(sent[: IMAGES + 2]) if not message.repeat}
    assert all(at - first.get(message.image_id, at) < 4 * OVERTAKING for at, message in enumerate(sent[: IMAGES + 2]))


def test_a_reordered_image_is_overtaken_by_a_few():
    sent = through("reorder=0.3", messages=wire(0) + wire(1))
    for series in (0, 1):
        mine = [message for message in sent if message.series == series]
        assert sorted(ids(mine)) == list(range(IMAGES)) and ids(mine) != sorted(ids(mine))
        assert mine[0].kind == "start" and mine[-1].kind == "end"
        for at, image_id in enumerate(ids(mine)):
            assert sum(other > image_id for other in ids(mine)[:at]) <= OVERTAKING


def test_a_delay_is_left_to_the_sender():
    sent = through("delay=0.5")
    assert ids(sent) == list(range(IMAGES))
    assert {message.delay_s for message in sent if message.image_id is not None} == {0.0, 0.1}


def test_a_late_start_and_an_early_end():
    start = kinds(through("late-start"))
    assert 1 <= start.index("start") <= 3 and len(start) == IMAGES + 2
    end = kinds(through("early-end"))
    assert 1 <= end[::-1].index("end") <= 3 and len(end) == IMAGES + 2
    assert kinds(through("late-start", messages=[wire()[0], wire()[-1]])) == ["start", "end"]


def test_no_start_and_no_end():
    assert kinds(through("no-start", "no-end")) == ["image"] * IMAGES


@pytest.mark.parametrize("consumers", [2, 3])
def test_a_second_consumer_takes_turns_with_starts_and_ends_too(consumers):
    whole = wire()
    for seed in range(6):
        sent = through(f"second-consumer={consumers}", seed=seed)
        turn = whole.index(sent[0])
        assert turn < consumers and sent == whole[turn::consumers]


@pytest.mark.parametrize("seed", range(8))
def test_a_truncated_message_is_shorter(seed):
    before = {message.image_id: message for message in wire()}
    sent = through("truncate=0.5", seed=seed)
    assert ids(sent) == list(range(IMAGES))
    for message in sent:
        old = before[message.image_id] if message.image_id is not None else message
        shorter = sum(map(len, message.parts)) < sum(map(len, old.parts))
        assert shorter == (message.damage == "truncated")
    assert {message.damage for message in sent} == {"", "truncated"}


@pytest.mark.parametrize("protocol", ENCODERS)
def test_changed_pixels_leave_the_header_alone(protocol):
    traits = PROTOCOLS[protocol]
    simulation = Simulation(
        protocol,
        acquisition(compression=traits.compressions[-1], images=12),
        image,
        faults=Faults(orders=(Fault("corrupt", 0.5),)),
    )
    healthy = Simulation(protocol, simulation.acquisition, simulation.images)
    decoder, other = DECODERS[protocol]("detector"), DECODERS[protocol]("detector")
    damaged = 0
    for sent, meant in zip(simulation.messages(), healthy.messages(), strict=True):
        frames = [one for one in decoder.decode(sent.parts, 1) if isinstance(one, Frame)]
        again = [one for one in other.decode(meant.parts, 1) if isinstance(one, Frame)]
        assert [frame.image_id for frame in frames] == [frame.image_id for frame in again]
        same = all(bytes(a.blob) == bytes(b.blob) for a, b in zip(frames, again, strict=True))
        assert same == (sent.damage == "")
        damaged += not same
    assert 0 < damaged < 12


@pytest.mark.parametrize("protocol", ENCODERS)
def test_changed_headers_leave_the_pixels_alone(protocol):
    order = Faults(orders=(Fault("corrupt-header", 1.0),))
    compression = PROTOCOLS[protocol].compressions[-1]
    simulation = Simulation(protocol, acquisition(compression=compression, images=12), image, faults=order)
    for sent, meant in zip(
        simulation.messages(), Simulation(protocol, simulation.acquisition, image).messages(), strict=True
    ):
        if sent.image_id is None:
            continue
        places = pixels_of(protocol, meant.parts)
        assert places and sent.pixels == places and sent.damage == "header"
        for part, start, stop in places:
            assert bytes(sent.parts[part][start:stop]) == bytes(meant.parts[part][start:stop])
        assert [bytes(one) for one in sent.parts] != [bytes(one) for one in meant.parts]


def simulated(protocol: str, text: str, seed: int = 0, images: int = 20, **changes) -> list[OnWire]:
    armed = acquisition(images=images, compression=PROTOCOLS[protocol].compressions[0], **changes)
    faults = Faults(orders=(read_fault(text),), seed=seed)
    return list(Simulation(protocol, armed, image, faults=faults).messages())


@pytest.mark.parametrize("protocol", ANNOUNCED)
def test_an_abort_stops_early_and_says_so(protocol):
    (truth,) = truth_of(simulated(protocol, "abort=0.3"))
    assert (truth.whole, truth.ended, truth.followed) == (set(range(6)), True, False)


@pytest.mark.parametrize("protocol", ENCODERS)
@pytest.mark.parametrize(("text", "number"), [("restart", 5), ("restart-same", 4)])
def test_a_restart_counts_from_zero_again(protocol, text, number):
    first, second = truth_of(simulated(protocol, text))
    assert (first.whole, first.ended, first.followed) == (set(range(10)), False, True)
    assert (second.whole, second.followed, second.stale_images) == (set(range(20)), False, 0)
    if protocol in ANNOUNCED:
        decoder = DECODERS[protocol]("detector")
        decoded = [message for sent in simulated(protocol, text) for message in decoder.decode(sent.parts, 1)]
        assert {message.series_id for message in decoded} == {4, number}
        starts = [(m.series_uid, m.header.get("arm_date")) for m in decoded if isinstance(m, SeriesStart)]
        assert len(set(starts)) == 2
        assert len({uid for uid, _ in starts}) == (1 if (protocol, text) == ("stream-v2", "restart-same") else 2)


@pytest.mark.parametrize("protocol", ENCODERS)
def test_stale_messages_come_between_those_of_the_next_series(protocol):
    sent = simulated(protocol, "stale")
    first, second = truth_of(sent)
    assert (first.stale_images, first.stale_ends) == (STALE, int(PROTOCOLS[protocol].end))
    assert len(first.whole) == 10 and second.whole == set(range(20))
    assert sent[-1].series == 1 or sent[-1].kind != "end"


@pytest.mark.parametrize("protocol", [name for name, traits in PROTOCOLS.items() if traits.trains])
def test_a_train_is_one_message_of_several_images(protocol):
    sent = simulated(protocol, "drop=0.5", images=32, images_per_message=4)
    assert {message.images for message in sent} == {4}
    (truth,) = truth_of(sent)
    decoded = [m for one in sent for m in DECODERS[protocol]("d").decode(one.parts, 1) if isinstance(m, Frame)]
    assert {frame.image_id for frame in decoded} == truth.whole
    assert 0 < len(truth.whole) < 32


@pytest.mark.parametrize("protocol", [name for name, traits in PROTOCOLS.items() if traits.empty])
def test_messages_without_images_are_no_loss(protocol):
    sent = simulated(protocol, "empty=0.5", images=40)
    (truth,) = truth_of(sent)
    assert truth.whole | truth.empty == set(range(40)) and not truth.whole & truth.empty
    assert 5 < len(truth.empty) < 35 and len(sent) == 40
    decoder = DECODERS[protocol]("d")
    said = [one for message in sent for one in decoder.decode(message.parts, 1)]
    assert {one.image_id for one in said if isinstance(one, Frame)} == truth.whole
    empty = {one.image_id for one in said if isinstance(one, Absent)}
    assert empty == {image_id for image_id in truth.empty if image_id > min(truth.whole)}


@pytest.mark.parametrize("protocol", [name for name, traits in PROTOCOLS.items() if not traits.empty])
def test_a_protocol_without_words_for_it_refuses_messages_without_images(protocol):
    with pytest.raises(ValueError, match="cannot say that there is no image"):
        simulated(protocol, "empty=0.5")


def test_images_that_do_not_fill_their_trains_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        simulated("karabo", "drop=0", images=30, images_per_message=4)


def test_the_truth_about_damage_and_repeats():
    one, two = wire()[1:3]
    broken = OnWire([b"x"], 1, damage="truncated")
    (truth,) = truth_of([one, broken, OnWire(one.parts, 0, repeat=True)])
    assert (truth.whole, truth.damaged, truth.repeated, truth.lost) == ({0}, {1}, [0], {1})
    (truth,) = truth_of([two, broken])
    assert truth.lost == set()


@given(st.text(max_size=20))
def test_what_is_no_order_is_refused(text):
    name = text.partition("=")[0]
    try:
        order = read_fault(text)
    except ValueError as error:
        assert "fault" in str(error)
    else:
        assert order.name == name and FAULTS[name].least <= order.value <= FAULTS[name].most


@pytest.mark.parametrize("text", ["drop=2", "drop=-1", "drop=nan", "drop=", "second-consumer=1", "second-consumer=2.5",
                                  "no-end=0", "dorp=0.1", ""])  # fmt: skip
def test_orders_that_make_no_sense(text):
    with pytest.raises(ValueError, match=r"no fault|is not"):
        read_fault(text)


def test_orders_as_users_write_them():
    assert read_fault("drop=0.01") == Fault("drop", 0.01)
    assert read_fault("second-consumer") == Fault("second-consumer", 2)
    assert read_fault("no-end").plans is False and read_fault("stale").plans is True


@given(st.lists(st.sampled_from([f"{name}=0.3" for name in ("drop", "duplicate", "reorder", "truncate", "corrupt")]),
                unique=True), st.integers(0, 50))  # fmt: skip
def test_nothing_is_invented_or_held_back_for_ever(texts, seed):
    sent = through(*texts, seed=seed)
    (truth,) = truth_of(sent)
    assert truth.whole | truth.damaged <= set(range(IMAGES))
    if "drop=0.3" not in texts:
        assert truth.whole | truth.damaged == set(range(IMAGES))
    assert kinds(sent)[0] == "start" and kinds(sent)[-1] == "end"
