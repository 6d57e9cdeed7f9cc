"""The hostile inputs themselves, and how one is judged. The processes are tested in tests/system."""

import json
import random
import tracemalloc
from contextlib import suppress

import cbor2
import msgpack
import pytest

from edge.bench import fuzz_inputs
from edge.bench.fuzz import Outcome, Work, distinct, rows
from edge.bench.fuzz_child import BASE_BYTES, Done, Finding, Watch, bound_bytes, fed
from edge.bench.fuzz_documents import CBOR, JSON, MSGPACK, changed, hypothesis_values
from edge.bench.fuzz_inputs import MOST_BYTES, MOST_PARTS, corpus, inputs
from edge.bench.fuzz_target import Taken
from edge.bench.fuzz_targets import targets
from streams.codecs import DECODERS
from streams.messages import CodecError

MESSAGES = [[b'{"htype":"image","shape":[5,7]}', bytes(range(70))], [b'{"htype":"end"}']]


def test_inputs_follow_from_seed_target_and_batch():
    made_of = corpus(MESSAGES, JSON, [1, "x"])
    first = inputs(3, "a", 7, made_of, 64)
    assert first == inputs(3, "a", 7, made_of, 64)
    assert first[:32] == inputs(3, "a", 7, made_of, 32)
    others = [inputs(4, "a", 7, made_of, 64), inputs(3, "b", 7, made_of, 64), inputs(3, "a", 8, made_of, 64)]
    assert all(other != first for other in others)


def test_inputs_are_bounded_and_of_every_kind():
    found = [one for batch in range(20) for one in inputs(0, "a", batch, corpus(MESSAGES, JSON, [[1]]), 256)]
    assert max(sum(map(len, one)) for one in found) <= MOST_BYTES
    assert max(map(len, found)) <= MOST_PARTS
    assert any(one == MESSAGES[0] for one in found) and sum(one in MESSAGES for one in found) < len(found) / 4
    heads = [one[0] for one in found if one and one[0] != MESSAGES[0][0]]
    documents = []
    for head in heads:
        with suppress(ValueError, RecursionError):
            documents.append(json.loads(head))
    shapes = [document.get("shape", [5, 7]) for document in documents if isinstance(document, dict)]
    assert sum(shape != [5, 7] for shape in shapes) > 100  # well-formed, and wrong


@pytest.mark.parametrize("change", set(fuzz_inputs.OF_BYTES))
def test_every_change_of_bytes_changes_them_and_takes_an_empty_part(change):
    made_of, rng = corpus(MESSAGES, None, []), random.Random(1)
    assert any(change(rng, MESSAGES[0][1], made_of) != MESSAGES[0][1] for _ in range(20))
    assert isinstance(change(rng, b"", made_of), bytes)


@pytest.mark.parametrize("change", fuzz_inputs.OF_PARTS)
def test_every_change_of_parts_takes_a_message_without_any(change):
    made_of, rng = corpus(MESSAGES, None, []), random.Random(1)
    assert any(change(rng, list(MESSAGES[0]), made_of) != MESSAGES[0] for _ in range(20))
    assert isinstance(change(rng, [], made_of), list)


@pytest.mark.parametrize("format", [JSON, CBOR, MSGPACK])
def test_documents_are_changed_in_one_place_and_stay_documents(format):
    tree = {"a": [1, 2, {"b": "text"}], "c": 1.5, "d": None}
    before, rng = json.dumps(tree), random.Random(5)
    assert format.loads(format.dumps(tree)) == tree
    different = 0
    for _ in range(200):
        other = changed(rng, tree, [])
        assert json.dumps(tree) == before
        try:
            different += format.loads(format.dumps(other)) != tree
        except (OverflowError, ValueError, TypeError, cbor2.CBORError, msgpack.UnpackException):
            continue  # a value that this format does not have
    assert different > 100


def test_tagged_documents_are_changed_inside_and_in_their_tags():
    document = {"data": cbor2.CBORTag(40, [[5, 7], cbor2.CBORTag(69, b"\1\2")])}
    tree, rng = CBOR.loads(cbor2.dumps(document)), random.Random(0)
    assert CBOR.dumps(tree) == cbor2.dumps(document)
    found = [changed(rng, tree, []) for _ in range(300)]
    arrays = [one["data"] for one in found if isinstance(one, dict) and isinstance(one.get("data"), cbor2.CBORTag)]
    assert any(array.tag != 40 for array in arrays)
    assert any(array.value[0] != [5, 7] for array in arrays if array.tag == 40 and isinstance(array.value, list))


def test_hypothesis_gives_values_of_every_type():
    values, kinds = list(hypothesis_values(0)), set()
    while values:
        value = values.pop()
        kinds.add(type(value))
        values += value if isinstance(value, list) else value.values() if isinstance(value, dict) else []
    assert {int, float, str, bytes, bool, list, dict, type(None)} <= kinds


def test_every_decoder_is_a_target():
    assert set(DECODERS) < set(targets())


@pytest.mark.parametrize("name", targets())
def test_honest_messages_are_taken_by_every_target(name):
    target = targets()[name]
    feed, reasons = target.fresh(), []
    for message in target.messages():
        for _ in range(2):  # there may be two readers, which take turns
            reason, _, problem = fed(feed, list(message), target.allowed)
            assert problem is None, message
            reasons.append(reason)
    assert len(reasons) > 0 and set(reasons) == {""}


def feeding(error):
    def feed(parts):
        raise error

    return fed(feed, [b"x"], (CodecError,))


def test_only_what_is_promised_may_be_raised():
    assert feeding(CodecError("truncated", "x")) == ("truncated", 0, None)
    for error in (ValueError("bad"), RecursionError("deep"), AssertionError(), KeyboardInterrupt()):
        reason, _, problem = feeding(error)
        assert reason == "" and problem is not None and problem[0] == "crash"
        assert type(error).__name__ in problem[1]
    assert feeding(MemoryError("much"))[2][0] == "over_allocation"
    assert fed(lambda parts: Taken(5, "malformed"), [], ()) == ("malformed", 5, None)


class Cell:
    value = -1


def test_what_an_input_allocates_beyond_its_claims_is_seen():
    message = [b"x" * 100]
    watch = Watch(Cell(), 60.0)
    watch.begin(traced=True)
    try:
        watch.before(0)
        held = bytearray(BASE_BYTES + 1000)
        assert watch.after(message, 0) is None
        watch.before(1)
        held += bytearray(2 * BASE_BYTES)
        kind, text = watch.after(message, 0)
        assert kind == "over_allocation" and f"{bound_bytes(message, 0)} bytes would do" in text
        assert watch.after(message, 2 * BASE_BYTES) is None  # it had claimed as much
    finally:
        kept = watch.end()
    assert kept is not None and "bytes kept after all of them" in kept[1]  # a reader that never forgets
    assert not tracemalloc.is_tracing() and len(held) > 3 * BASE_BYTES


def test_what_takes_long_is_a_hang():
    watch = Watch(Cell(), 0.0)
    watch.begin(traced=False)
    watch.before(0)
    sum(range(10_000))
    assert watch.after([], 0)[0] == "hang"
    assert watch.end() is None


def finding(text, kind="crash", number=3):
    return Finding("x", 0, number, 0, kind, text)


def test_findings_that_read_the_same_are_one():
    many = [finding("5 bytes where 7 bytes would do", "over_allocation"), finding("KeyError in a.py:3", number=4)]
    many += [finding("6 bytes where 7 bytes would do", "over_allocation", 9), finding("KeyError in a.py:3", number=8)]
    assert [(one.number, count) for one, count in distinct(many)] == [(3, 2), (4, 2)]


def test_the_rows_tell_all():
    outcome = Outcome(seconds=2.0)
    outcome.add(Done(Work("x", 0, 0, 256), 200, {"malformed": 55}, [finding("KeyError")], 0.25, 1000))
    outcome.broken(finding("not finished", "hang"))
    found = {row.name: row for row in rows({"x": outcome})}
    assert [found[name].value for name in ("inputs", "crashes", "hangs", "over_allocations")] == [257, 1, 1, 0]
    assert found["x/crashes"].detail == ["KeyError"]
    assert found["x/inputs"].detail == {"accepted": 200, "refused": {"malformed": 55}}
    assert (found["x/rate"].value, found["x/slowest"].value) == (128.5, 250.0)
