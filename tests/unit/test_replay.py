import pytest

from edge.commands import replay_capture
from edge.commands.captures import _unfinished
from edge.commands.replay_file import Sent
from streams.recording.segments import Message, Place


@pytest.mark.parametrize(
    ("rate", "speed", "sleeps"),
    [(None, None, []), (4.0, None, [0.25, 0.5, 0.75]), (None, 1.0, [1.0, 3.0, 2.5]), (None, 2.0, [0.5, 1.5, 1.25])],
)
def test_messages_leave_at_a_pace_or_as_they_were_received(monkeypatch, rate, speed, sleeps):
    slept: list[float] = []
    monkeypatch.setattr(replay_capture.time, "monotonic", lambda: 100.0)
    monkeypatch.setattr(replay_capture.time, "sleep", slept.append)
    times = [5.0, 6.0, 8.0, 7.5]
    messages = [Message(Place(1, at), round(time * 1e9), []) for at, time in enumerate(times)]
    assert list(replay_capture._paced(iter(messages), rate, speed)) == messages
    assert slept == sleeps


@pytest.mark.parametrize(("protocol", "told"), [("stream-v2", True), ("bsread", False), ("karabo", False)])
def test_a_series_is_numbered_only_where_the_stream_says_the_number(protocol, told):
    sent = Sent("scan.npz", protocol, "tcp://127.0.0.1:1", first_series_id=3, series=2, images=10)
    assert ("as series 3 to 4" in sent.line()) is told


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ({"open": []}, "; at the last one no series waited for results"),
        ({"settled": "a", "open": ["b", "c"]}, "; at the last one 2 series waited for results"),
        ({"closed": "a"}, ""),
        ({}, ""),
    ],
)
def test_the_last_mark_of_a_capture_in_words(mark, said):
    assert _unfinished(mark) == said
