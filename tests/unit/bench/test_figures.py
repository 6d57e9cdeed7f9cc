import io
import json

import pytest
from rich.console import Console

from edge.bench.rows import by_name
from edge.training import figures
from edge.training.figures import Figures, Percentiles, kept, publish

LINES = [
    {"method": "model", "error": 0.25, "px": Percentiles(0.1, 0.2, 0.4), "spots": 3},
    {"method": "rival", "error": 1.5, "px": Percentiles(float("nan"), float("nan"), float("nan")), "spots": 0},
]
TABLE = Figures("places", "Where they are", LINES, {"error": "rad", "px": "px"})


def test_each_number_of_a_table_is_a_row():
    rows = {row.name: row for row in kept(TABLE)}
    assert list(rows)[:3] == ["places/method model/error", "places/method model/px", "places/method model/spots"]
    error = rows["places/method model/error"]
    assert (error.value, error.unit, error.detail) == (0.25, "rad", "Where they are")
    place = rows["places/method model/px"]
    assert (place.value, place.unit) == (0.1, "px")
    assert place.detail == {"of": "Where they are", "p75": 0.2, "p95": 0.4}


def test_tables_are_shown_and_kept(tmp_path, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(figures, "Console", lambda: Console(file=screen, width=100))
    publish(iter([TABLE]), tmp_path / "rows.json")
    assert "Where they are" in screen.getvalue() and "0.100/0.200/0.400" in screen.getvalue()
    found = by_name(json.loads((tmp_path / "rows.json").read_text()))
    assert len(found) == 6
    assert found["places/method rival/px"]["value"] is None
    assert found["places/method rival/error"]["value"] == pytest.approx(1.5)


def test_what_was_made_before_a_table_failed_is_not_passed_off_as_all(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "Console", lambda: Console(file=io.StringIO()))

    def tables():
        yield TABLE
        raise OSError("no scan")

    with pytest.raises(OSError, match="no scan"):
        publish(tables(), tmp_path / "rows.json")
    assert not (tmp_path / "rows.json").exists()
