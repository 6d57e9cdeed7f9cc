"""Who is present, by what the publishing socket tells; and a peer that tells it nonsense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.pipeline.presence import MAX_PRESENT, Presence
from streams.codecs.handshake import hello_topic, presence_topic, present_name
from streams.codecs.results import topic

NAMES = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)


def came(name: str) -> list[bytes]:
    return [b"\x01" + presence_topic(name)]


def left(name: str) -> list[bytes]:
    return [b"\x00" + presence_topic(name)]


@given(NAMES)
def test_a_name_goes_into_a_topic_and_comes_out(name):
    assert present_name(memoryview(presence_topic(name))) == name


@given(NAMES)
def test_presence_is_told_behind_every_route(name):
    """ZeroMQ tells subscriptions in the order of their bytes when it connects."""
    assert presence_topic(name) > max(topic("z" * 64), topic("~"), hello_topic(b"\xff" * 64))


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "\0", "maps\n", "ä", "a/b"])
def test_what_is_no_name(name):
    with pytest.raises(ValueError, match="is no name for a subscriber; use 1 to 64 letters"):
        presence_topic(name)
    assert present_name(b"\xffpresent/" + name.encode()) is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
def test_who_came_and_has_not_left_is_present(happenings):
    presence, expected = Presence(), set()
    for comes, name in happenings:
        presence.take(came(name) if comes else left(name))
        (expected.add if comes else expected.discard)(name)
    assert presence.names == expected


@given(st.lists(st.lists(st.binary(max_size=90), min_size=1, max_size=3)))
def test_nonsense_changes_nothing(messages):
    presence = Presence()
    presence.take(came("maps"))
    for message in messages:
        if present_name(message[0][1:]) is None or len(message) > 1:
            presence.take(message)
    for nonsense in ([b""], [b"\x02" + presence_topic("x")], [*came("x"), b"more"], [b"\x01"], [b"\x01\xffpresent/"]):
        presence.take(nonsense)
    assert presence.names == {"maps"}


def test_a_flood_of_names_is_bounded_and_leaves_who_was_there():
    presence = Presence()
    presence.take(came("maps"))
    for number in range(3 * MAX_PRESENT):
        presence.take(came(f"stranger-{number}"))
    assert len(presence.names) == MAX_PRESENT and "maps" in presence.names
    for number in range(3 * MAX_PRESENT):
        presence.take(left(f"stranger-{number}"))
    assert presence.names == {"maps"}
    presence.take(came("back"))
    assert presence.names == {"maps", "back"}
