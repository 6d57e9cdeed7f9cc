"""N workers of one stream: each claims nothing, together they know what nobody got."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.codecs.results import SeriesEnded, decode, encode
from streams.ledger.merging import merge
from streams.ledger.series import Series
from streams.ledger.shares import Share, read_share
from streams.messages import Absent, Compression, Frame, SeriesStart

IMAGES = 40


def worker(part: int, of: int, ids: list[tuple[str, int]], start: SeriesStart | None, share: bool = True) -> Series:
    """What one worker makes of the frames that were dealt to it; `start` where that was dealt to it too."""
    opened = start or SeriesStart("det", "u", 7, None, ())
    series = Series(opened, announced=start is not None, now_ns=0, share=Share(part, of) if share else None)
    for channel, image_id in ids:
        series.take(Frame("det", "u", 7, image_id, channel, (1, 1), "<u2", Compression.NONE, b"\0\0"), 0)
    series.shut_down()
    return series


def notice(series: Series, verdict: str = "unknown", **changes: Any) -> SeriesEnded:
    counts = series.counts()
    fields: dict[str, Any] = {
        "source": "det", "series_uid": "u", "series_id": 7, "route": "r", "origin": "o", "seq": 1, "published_ns": 0,
        "reason": "end", "verdict": verdict, "account": {}, "latency_ms": {}, "first_image": series.first_image,
        "arrivals": {name: getattr(counts, name) for name in counts.__struct_fields__},
        "share": str(series.share or ""), "intervals": series.intervals(), "absent": series.absent_ids(),
    }  # fmt: skip
    sent = SeriesEnded(**{**fields, **changes})
    received, _ = decode([bytes(part) for part in encode(sent)])  # over the wire and back
    assert received == sent
    return received


FRAMES = [(channel, image_id) for image_id in range(IMAGES) for channel in ("a", "b")]


@given(st.lists(st.sampled_from(FRAMES), max_size=120), st.integers(1, 5), st.randoms(), st.booleans())
def test_any_division_merges_to_the_whole(frames, workers, dice, announced):
    start = SeriesStart("det", "u", 7, IMAGES, ("a", "b")) if announced else None
    whole = worker(1, 1, frames, start, share=False)
    dealt: list[list[tuple[str, int]]] = [[] for _ in range(workers)]
    for frame in frames:
        dice.choice(dealt).append(frame)
    told = dice.randrange(workers)
    parts = [worker(n + 1, workers, mine, start if n == told else None) for n, mine in enumerate(dealt)]
    merged = merge([notice(part) for part in parts])
    counts = whole.counts()
    assert (merged.expected, merged.received, merged.missing) == (counts.expected, counts.received, counts.missing)
    assert merged.duplicate == counts.duplicate == merged.between + sum(part.counts().duplicate for part in parts)
    assert merged.missing_ids == {channel: found for channel, found in whole.missing_ids(None).items() if found}
    assert merged.silent == tuple(n + 1 for n, mine in enumerate(dealt) if not mine)
    if merged.missing:
        assert merged.verdict == "incomplete"
    else:
        assert merged.verdict == ("complete" if announced else "unknown")


def dealt(workers: int, consumers: int, images: int = 120) -> list[SeriesEnded]:
    """Messages in turn to `consumers`, of which the first `workers` are ours; the start is the first message."""
    start = SeriesStart("det", "u", 7, images, ("a",))
    told = []
    for part in range(workers):
        ids = [("a", image_id) for image_id in range(images) if (image_id + 1) % consumers == part]
        told.append(notice(worker(part + 1, workers, ids, start if part == 0 else None)))
    return told


def test_workers_that_share_well():
    merged = merge(dealt(3, 3))
    assert (merged.expected, merged.received, merged.missing, merged.verdict) == (120, 120, 0, "complete")
    assert (merged.silent, merged.suspicion, merged.missing_ids) == ((), None, {})


def test_a_stranger_that_takes_its_turn():
    merged = merge(dealt(2, 3))
    assert (merged.missing, merged.verdict, merged.silent) == (40, "incomplete", ())
    assert merged.suspicion is not None and merged.suspicion.stride == 3
    assert "second consumer" in merged.suspicion.text


def test_a_worker_that_is_silent_is_named():
    merged = merge(dealt(3, 3)[:2])
    assert (merged.silent, merged.missing, merged.verdict) == ((3,), 40, "incomplete")
    assert merged.suspicion is not None
    assert merged.suspicion.text == "one of every 3 images is missing: worker 3/3 told of none"


def pulses(part: int, workers: int, without: set[int]) -> Series:
    """A worker that gets every pulse of its turn, some of them without an image; nobody announces anything."""
    start = SeriesStart("det", "u", 7, None, ("a",), first_image=part)
    series = Series(start, announced=True, now_ns=0, share=Share(part + 1, workers))
    for image_id in range(part, IMAGES, workers):
        if image_id in without:
            series.absent(Absent("det", "u", 7, image_id, "a"))
        else:
            series.take(Frame("det", "u", 7, image_id, "a", (1, 1), "<u2", Compression.NONE, b"\0\0"), 0)
    series.shut_down()
    return series


@given(st.sets(st.integers(3, IMAGES - 2)), st.integers(1, 3))
def test_what_is_absent_for_one_worker_is_missing_to_none(without, workers):
    merged = merge([notice(pulses(part, workers, without)) for part in range(workers)])
    assert (merged.received, merged.absent, merged.missing) == (IMAGES - len(without), len(without), 0)
    assert (merged.missing_ids, merged.suspicion) == ({}, None)


def test_where_a_worker_does_not_tell_what_is_absent_nothing_is_called_missing():
    first, second = notice(pulses(0, 2, {4, 8})), notice(pulses(1, 2, {5}), absent={})
    merged = merge([first, second])
    assert (merged.untold, merged.missing, merged.absent) == ((2,), None, None)


def test_where_a_worker_does_not_tell_its_ids_nothing_is_called_missing():
    first, _, third = dealt(3, 3)
    quiet = notice(worker(2, 3, [("a", 0)], None), intervals={})
    merged = merge([first, quiet, third])
    assert (merged.untold, merged.missing, merged.verdict, merged.missing_ids) == ((2,), None, "unknown", {})


def test_a_loss_of_one_worker_is_a_loss_of_all():
    first, *others = dealt(3, 3)
    lossy = notice(
        worker(1, 3, [("a", n) for n in range(119) if n % 3 == 2], None), "incomplete", intervals=first.intervals
    )
    assert merge([lossy, *others]).verdict == "incomplete"


def test_pulse_ids_are_counted_from_the_first_that_any_worker_saw():
    base = 10**10

    def of(part: int) -> SeriesEnded:
        ids = [("a", base + n) for n in range(20) if n % 2 == part]
        start = SeriesStart("det", "u", 7, None, (), first_image=ids[0][1])
        return notice(worker(part + 1, 2, ids, start))

    merged = merge([of(1), of(0)])
    assert (merged.received, merged.missing, merged.expected, merged.verdict) == (20, 0, None, "unknown")


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"share": ""}, "no share"), ({"share": "1/3"}, "two notices"), ({"series_id": 8}, "different series"),
     ({"share": "2/4"}, "different streams"),
     ({"intervals": {"a": [(0, 1, 1, 10**9)]}, "arrivals": {"received": 10**9}}, "no intervals")],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused(change, problem):
    first, second, _ = dealt(3, 3)
    changed = SeriesEnded(**{name: getattr(second, name) for name in second.__struct_fields__} | change)
    with pytest.raises(ValueError, match=problem):
        merge([first, changed])


def test_nothing_cannot_be_merged():
    with pytest.raises(ValueError, match="no notices"):
        merge([])


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/", "/3", "1/3 ", "-1/3", "1/99999", "a/b", "\u0661/3"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(ValueError, match="write WORKER/WORKERS"):
        read_share(text)


def test_a_share_is_read_and_written():
    assert read_share("") is None
    assert str(read_share("2/3")) == "2/3"
