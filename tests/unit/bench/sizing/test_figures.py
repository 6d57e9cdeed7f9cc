import pytest

from edge.bench.rows import by_name, document
from edge.bench.sizing.figures import BARS, Bar, Figure, median_of, missed, ratio_of


def test_a_ratio_is_the_median_of_the_rounds_ratios_not_the_ratio_of_medians():
    one = ratio_of("ingest_128_v1", [1.0, 20.0, 3.0], [2.0, 10.0, 4.0], "text", frames=5)
    assert (one.value, one.spread) == (0.75, (0.5, 2.0))
    assert one.more == {"rounds": [0.5, 2.0, 0.75], "frames": 5}


def test_a_round_has_both_sides():
    with pytest.raises(ValueError, match="shorter"):
        ratio_of("x", [1.0, 2.0], [1.0])


def test_no_round_is_no_figure():
    with pytest.raises(ValueError, match="x: no round"):
        median_of("x", [])


@pytest.mark.parametrize(
    ("bar", "value", "kept"),
    [
        (Bar(0.5, "at least"), 0.5, True),
        (Bar(0.5, "at least"), 0.49, False),
        (Bar(4.0, "at most"), 4.0, True),
        (Bar(4.0, "at most"), 4.01, False),
        (Bar(4.0, "at most"), float("nan"), False),
        (Bar(0.5, "at least"), float("nan"), False),
    ],
)
def test_bars(bar, value, kept):
    assert bar.kept(value) is kept


def test_only_what_is_promised_is_judged():
    figures = [Figure("overload_unaccounted", 2.0), Figure("unaccounted", 0.0), Figure("rate", 1e9)]
    assert missed(figures) == ["overload_unaccounted is 2, at most 0 is promised"]


def test_rows_are_of_the_common_form_and_carry_the_bar():
    figures = [ratio_of("ingest_bslz4", [2.0, 3.0], [4.0, 4.0], "decode"), Figure("rate", 4.0, "Hz")]
    rows = by_name(document("edge bench ingest", [one.row() for one in figures]))
    assert rows["ingest_bslz4"]["value"] == 0.625
    assert rows["ingest_bslz4"]["spread"] == [0.5, 0.75]
    assert rows["ingest_bslz4"]["detail"] == {"what": "decode", "bar": "at least 0.65", "rounds": [0.5, 0.75]}
    assert rows["rate"]["unit"] == "Hz"
    assert rows["rate"]["detail"] is None


def test_every_bar_is_of_a_side():
    assert {bar.side for bar in BARS.values()} == {"at least", "at most"}
