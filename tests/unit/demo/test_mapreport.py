import json
from io import StringIO

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from edge.demo.judgement import GRID, Judged, MapScan, Truth
from edge.demo.mapreport import numbers, table, write_picture
from edge.demo.terminal import nearest
from edge.experiment.series import SeriesRecord

RNG = np.random.default_rng(0)


def series(verdict: str = "complete", **changes) -> SeriesRecord:
    arrivals = {"expected": 8, "images": 8, "received": 8, "missing": 0, "awaited": 0}
    account = {"received": 8, "unwanted": 0, "dropped": {}, "failed": {}, "inferred": 8, "published": 8}
    for name, value in changes.items():
        (arrivals if name in arrivals else account)[name] = value
    return SeriesRecord(
        series_id=1,
        series_uid="u",
        images=8,
        verdict=verdict,
        arrivals=arrivals,
        account=account,
        missing={},
        latency_ms={"p50": 2.0, "p99": 5.0},
        doubt="",
    )


def judged(strategy: str, *records: SeriesRecord, nrmse: float = 0.05, exit_status: str = "success") -> Judged:
    path = RNG.random((3, 2))
    scan = MapScan(strategy, (), path, np.array([0.5, 1.0, 1.25]), exit_status, records, {"p50": 1.0, "p99": 2.0}, 1)
    return Judged(scan, RNG.random((GRID, GRID)), RNG.random((GRID, GRID)), nrmse)


def outcome(*records: SeriesRecord) -> dict:
    strategies = [judged("adaptive", *records), judged("raster", series(), nrmse=0.1), judged("sobol", series())]
    return numbers(strategies)


def test_numbers_are_what_machines_expect():
    told = json.loads(json.dumps(outcome(series()), allow_nan=False))
    assert told["frames"]["expected"] == told["frames"]["published"] == 24
    assert told["ledger_complete"] is True
    assert told["latency_ms"] == {"p50": 2.0, "p99": 5.0}
    assert told["suggest_ms"] == {"p50": 1.0, "p99": 2.0}
    assert told["plan"] == {"points": 3, "exit_status": "success", "beam_time_s": 1.25}
    assert told["nrmse"] == {"adaptive": 0.05, "raster": 0.1, "sobol": 0.05}


@pytest.mark.parametrize("verdict", ["incomplete", "unknown", ""])
def test_one_series_without_a_clean_account_and_the_ledger_is_not_complete(verdict):
    assert outcome(series(), series(verdict, missing=1))["ledger_complete"] is False


def test_without_any_series_nothing_is_complete():
    assert numbers([judged("adaptive")])["ledger_complete"] is False


def test_the_table_shows_losses():
    console = Console(file=StringIO(), width=120)
    console.print(table(outcome(series("incomplete", missing=3, failed={"malformed": 2}, dropped={"shutdown": 1}))))
    text = console.file.getvalue()
    assert "3 / 2 / 1" in text and "incomplete" in text and "10.00 %" in text


def test_the_picture_is_written(tmp_path):
    truth = Truth(np.zeros((GRID**2, 2)), RNG.random((GRID, GRID)), (0, 1, 0, 1))
    write_picture(tmp_path / "map.png", truth, [judged("adaptive"), judged("raster"), judged("sobol")], "title")
    with Image.open(tmp_path / "map.png") as image:
        assert image.size > (1000, 500)


def test_the_nearest_value_is_shown_with_y_upwards():
    image = nearest(np.array([[0.1, 0.1], [0.9, 0.9]]), np.array([1.0, 2.0]), 4)
    assert image[3, 0] == 1.0 and image[0, 3] == 2.0
