"""Forms that are learnt from documents: what they find is what the general parser reads, or they find nothing."""

import cbor2
import pytest
from cbor2 import CBORTag
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs import cbor
from streams.codecs.cbor_learning import MAX_BYTES, MAX_ITEMS, Roles, learn
from streams.codecs.cbor_shape import Unlearnable
from streams.messages import CodecError

ROLES = Roles(counter="n", free="user", blobs="data", fixed=("type", "id"))
LIKE = {"type": "image", "data": {"a": [2, b"xx"]}, "n": 5, "id": 4, "times": [1, 2.5, -3], "user": None, "more": b"12"}

NUMBERS = st.integers(-(2**64), 2**64 - 1) | st.floats(width=32) | st.floats()
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5) | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(CBORTag, st.sampled_from([40, 69, 1000, 56500]), inner)
    ),
    max_leaves=8,
)


def dump(document) -> memoryview:
    return memoryview(cbor2.dumps(document))


def like(**changes):
    return dump(LIKE | changes)


def read(view):
    """What the general parser makes of it, as a template should."""
    document = cbor.loads(view)
    blobs = [value for array in document["data"].values() for value in array if isinstance(value, memoryview)]
    return document["n"], blobs, cbor.plain(document.get("user"))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"n": 0},
        {"n": 23},
        {"n": 24},
        {"n": 2**64 - 1},
        {"times": [2**40, -1, 1.5]},
        {"user": {"position": {"row": 1.5}}},
        {"user": [1, [2, [3]], b"bytes"]},
        {"data": {"a": [2, b""]}},
        {"data": {"a": [2, bytes(70_000)]}},
        {"more": bytes(300)},
    ],
)
@pytest.mark.parametrize("tags", [0, 2])
def test_a_document_of_the_same_form_is_found(changes, tags):
    def tagged(document):
        for _ in range(tags):
            document = CBORTag(55799, document)
        return dump(document)

    found = learn(tagged(LIKE), ROLES).find(tagged(LIKE | changes))
    assert found == read(dump(LIKE | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "imagf"},
        {"id": 5},
        {"n": -1},
        {"n": 5.0},
        {"n": "5"},
        {"n": CBORTag(2, b"5")},
        {"times": [1, 2.5]},
        {"times": [1, 2.5, "3"]},
        {"data": {"b": [2, b"xx"]}},
        {"data": {"a": [3, b"xx"]}},
        {"data": {"a": [2, "xx"]}},
        {"extra": 1},
    ],
)
def test_another_form_is_not(changes):
    assert learn(like(), ROLES).find(like(**changes)) is None


@pytest.mark.parametrize("cut", range(1, len(like())))
def test_a_document_that_is_cut_is_not(cut):
    template = learn(like(), ROLES)
    assert template.find(like()[:-cut]) is None
    assert template.find(memoryview(bytes(like()) + bytes(cut))) is None


def test_what_rides_along_has_the_limits_of_the_whole_document():
    template = learn(like(), ROLES)
    deep: list = []
    for _ in range(cbor.MAX_DEPTH - 3):
        deep = [deep]
    for user in (deep, [deep], [0] * (cbor.MAX_ITEMS - 19), [0] * (cbor.MAX_ITEMS - 18), CBORTag(1, deep)):
        view = like(user=user)
        try:
            wanted = read(view)
        except CodecError:
            wanted = None
        assert template.find(view) == wanted


@pytest.mark.parametrize(
    "document",
    [
        dump({key: value for key, value in LIKE.items() if key != "n"}),
        like(n=-1),
        like(n=[1, 2]),
        like(id=b"4"),
        like(times=[0] * (MAX_ITEMS + 1)),
        like(text="x" * MAX_BYTES),
        memoryview(b"\xbf\x61n\x05\xff"),
        memoryview(b"\xa3\x61n\x05\x61n\x06\x64data\xa0"),
        memoryview(b"\xa3\x61n\x05\x78\x01n\x06\x64data\xa0"),
        memoryview(b"\xa2\x61n\x05\x64data\xa2\x61a\x41x\x61a\x41y"),
    ],
)
def test_what_has_no_form_of_use_is_not_learnt(document):
    cbor.loads(document)
    with pytest.raises(Unlearnable):
        learn(document, ROLES)


def test_keys_may_be_numbers():
    document = {1: 2, -1: {7: 8.5}, "n": 3, "data": {}}
    template = learn(dump(document), ROLES)
    assert template.find(dump(document | {1: 99, -1: {7: -1}, "n": 4})) == (4, [], None)
    assert template.find(dump({2: 2, -1: {7: 8.5}, "n": 3, "data": {}})) is None


def test_a_value_that_comes_again_is_not_read_twice(monkeypatch):
    template = learn(like(), ROLES)
    found = template.find(like(user={"scan": [1, 2]}))
    monkeypatch.setattr(cbor, "item_at", None)
    assert template.find(like(user={"scan": [1, 2]}, n=7)) == (7, [b"xx"], {"scan": [1, 2]})
    assert found == (5, [b"xx"], {"scan": [1, 2]})


def with_position(numbers, word="mm"):
    first, second, *others = numbers
    return like(
        user={"position": {"row": first, "col": second}, "others": others, "unit": word, "ok": True, "no": None}
    )


@given(learnt=st.lists(NUMBERS, min_size=4, max_size=4), numbers=st.lists(NUMBERS, min_size=4, max_size=4))
def test_what_rides_along_in_the_same_shape_is_made_of_its_numbers(learnt, numbers):
    template = learn(with_position(learnt), ROLES)
    wanted = told(read(with_position(numbers)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cbor, "item_at", None)
        assert told(template.find(with_position(numbers))) == wanted
    for other in (with_position(numbers[1:]), with_position(numbers, "um")):
        assert told(template.find(other)) == told(read(other))


@st.composite
def damaged(draw, view: memoryview) -> memoryview:
    """Bytes changed, taken out and put in; integers written longer than they need be."""
    text = bytearray(view)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text) - 1))
        how = draw(st.sampled_from(["change", "flip", "drop", "insert", "cut", "widen"]))
        if how == "change":
            text[at] = draw(st.integers(0, 255))
        elif how == "flip":
            text[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "drop":
            del text[at : at + draw(st.integers(1, 3))]
        elif how == "insert":
            text[at:at] = draw(st.binary(max_size=3))
        elif how == "widen":
            text[at : at + 1] = bytes([text[at] & 0xE0 | 0x18, text[at] & 0x1F])
        else:
            del text[at:]
        if not text:
            break
    return memoryview(bytes(text))


@given(
    data=st.data(),
    learnt=st.fixed_dictionaries(
        {"n": st.integers(0, 2**64 - 1), "times": st.lists(NUMBERS, max_size=3), "user": ANYTHING}
    ),
    changes=st.fixed_dictionaries({}, optional={"n": NUMBERS, "user": ANYTHING, "more": ANYTHING, "id": NUMBERS}),
)
def test_what_is_found_is_what_the_general_parser_reads(data, learnt, changes):
    template = learn(like(**learnt), ROLES)
    assert template.find(like(**learnt)) is not None
    view = data.draw(damaged(like(**(learnt | changes))))
    found = template.find(view)
    if found is None:
        return
    assert told(found) == told(read(view))
    document, known = cbor.loads(view), cbor.loads(like(**learnt))
    assert document.keys() == known.keys()
    assert (document["type"], document["id"]) == (known["type"], known["id"])
    assert list(document["data"]) == ["a"] and document["data"]["a"][0] == 2


def told(found):
    """With types, so that 1 is not True."""
    counter, blobs, free = found
    return repr((counter, [bytes(blob) for blob in blobs], free))
