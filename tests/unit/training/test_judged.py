import json

import click
import pytest
from rich.console import Console

from edge.models.card import Card, card_bytes, parse_card
from edge.training.judged import Bar, Judged, conclude, show, without_folders


@pytest.mark.parametrize(
    ("bar", "value", "kept"),
    [
        (Bar("at most", 0.1), 0.1, True),
        (Bar("at most", 0.1), 0.11, False),
        (Bar("at least", 10), 10, True),
        (Bar("below", 1), 1.0, False),
        (Bar("above", 0), 0.0, False),
        (Bar("below", 1, "high"), 0.9, False),  # its interval reaches to 1.1
        (Bar("above", 0.5, "low"), 0.9, True),
        (Bar("at most", 1), float("nan"), False),
    ],
)
def test_bars(bar, value, kept):
    assert Judged("x", value, interval=(0.7, 1.1), bars=[bar]).kept is kept


def test_an_interval_is_asked_for_where_there_is_none():
    assert Judged("x", 0.5, bars=[Bar("below", 1, "high")]).kept is False


def test_what_was_not_run_is_neither_kept_nor_missed():
    assert Judged("x", None, bars=[Bar("below", 1)]).kept is None
    assert Judged("x", 3.0).kept is None


def test_two_bars_must_both_be_kept():
    bars = (Bar("at least", 0.9), Bar("at most", 1.1))
    assert Judged("pull", 1.0, bars=bars).kept is True
    assert Judged("pull", 1.2, bars=bars).kept is False
    assert Judged("pull", 1.2, bars=bars).bar == "at least 0.9, at most 1.1"


def test_leaves_rows_and_a_card_and_then_says_what_was_missed(tmp_path, capsys):
    (tmp_path / "card.json").write_bytes(card_bytes(Card("peaks", (), "", {}, 1, 0.0)))
    figures = [
        Judged("good", 0.97, "1", (0.95, 0.99), "of the spots", (Bar("at least", 0.95),), {"frames": 3}),
        Judged("bad", 2.0, "px", None, "too far", (Bar("at most", 1),)),
        Judged("absent", None, what="not run: no interpreter was named"),
    ]
    with pytest.raises(click.ClickException, match=r"missed: bad is 2 \(at most 1\)"):
        conclude(figures, tmp_path / "rows.json", tmp_path)
    shown = capsys.readouterr().out
    assert "kept" in shown and "missed" in shown and "not run" in shown
    rows = {row["name"]: row for row in json.loads((tmp_path / "rows.json").read_text())["rows"]}
    assert rows["good"]["spread"] == [0.95, 0.99] and rows["good"]["detail"]["kept"] is True
    assert rows["absent"]["value"] is None and rows["good"]["detail"]["frames"] == 3
    measured = parse_card((tmp_path / "card.json").read_bytes()).measured
    assert measured is not None and [one.kept for one in measured.figures] == [True, False, None]


def test_all_kept_is_no_error(tmp_path):
    conclude([Judged("good", 1.0, bars=(Bar("at least", 0.9),))], None)


@pytest.mark.parametrize("width", [80, 200])
def test_is_readable_on_any_screen(width, capsys):
    meaning = "distance in pixels of the found centres to those of a pseudo-Voigt fit, all test patches"
    show([Judged("bragg_p50_px", 0.019, "px", (0.018, 0.020), meaning, (Bar("at most", 0.02),))], Console(width=width))
    lines = capsys.readouterr().out.splitlines()
    assert any("bragg_p50_px" in line and "0.019" in line and "kept" in line for line in lines)
    assert len(lines) < 12 and meaning.split()[0] in "".join(lines)


def test_a_card_names_files_and_no_folders(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["edge", "evaluate", "peaks", "--data", "/home/me/data", "--card"])
    (tmp_path / "card.json").write_bytes(card_bytes(Card("peaks", (), "", {}, 1, 0.0)))
    conclude([Judged("good", 1.0)], None, tmp_path)
    measured = parse_card((tmp_path / "card.json").read_bytes()).measured
    assert measured is not None and measured.command == "edge evaluate peaks --data data --card"
    assert [path.name for path in tmp_path.iterdir()] == ["card.json"]


def test_paths_are_cut_wherever_they_are_given():
    given = "edge evaluate ptycho --scan=../my/star.npz.bz2 --size 128 --plot '/home/a b/x y.png' /data/ -v"
    assert without_folders(given) == "edge evaluate ptycho --scan=star.npz.bz2 --size 128 --plot 'x y.png' data -v"
