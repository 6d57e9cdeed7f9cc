import json
import os

import numpy as np
import pytest

from edge.bench import rows
from edge.bench.rows import Row, by_name, document, machine, running_command, write


def test_a_file_holds_machine_command_and_rows(tmp_path):
    path = tmp_path / "new" / "rows.json"
    write(path, [Row("phase", 0.12, "rad", (0.1, 0.2), "why"), Row("cells", 3, "1")], "edge bench x --seeds 3")
    kept = json.loads(path.read_text())
    assert list(kept) == ["machine", "command", "rows"]
    assert kept["command"] == "edge bench x --seeds 3"
    assert kept["rows"] == [
        {"name": "phase", "value": 0.12, "unit": "rad", "spread": [0.1, 0.2], "detail": "why"},
        {"name": "cells", "value": 3, "unit": "1", "spread": None, "detail": None},
    ]
    assert by_name(kept)["cells"]["value"] == 3
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["rows.json"]


def test_the_machine_is_named_with_its_load():
    on = machine()
    assert set(on) == {"cpu", "cores", "system", "python", "load_average"}
    assert on["cpu"] and on["cores"] >= 1 and len(on["load_average"]) == 3


def test_numbers_that_are_none_become_null():
    (row,) = document("", [Row("x", float("nan"), "1", (float("-inf"), 1.0), {"p": float("inf")})])["rows"]
    assert (row["value"], row["spread"], row["detail"]) == (None, [None, 1.0], {"p": None})


def test_numpy_scalars_are_numbers():
    (row,) = document("", [Row("x", np.float64(1.5), "1", (np.float32(0.5), np.int64(2)), [np.bool_(True)])])["rows"]
    assert (row["value"], row["spread"], row["detail"]) == (1.5, [0.5, 2], [True])


def test_names_are_unique():
    with pytest.raises(ValueError, match=r"rows share a name: \['x'\]"):
        document("", [Row("x", 1), Row("x", 2)])


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "rows.json"
    write(path, [Row("old", 1)], "edge")

    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(rows.os, "replace", broken)
    with pytest.raises(OSError, match="full"):
        write(path, [Row("new", 2)], "edge")
    assert os.listdir(tmp_path) == ["rows.json"]
    assert json.loads(path.read_text())["rows"][0]["name"] == "old"


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError):
        write(tmp_path / "rows.json", [Row("x", 1, detail=object())], "edge")
    assert os.listdir(tmp_path) == []


def test_the_command_is_that_of_the_process(monkeypatch):
    monkeypatch.setattr("sys.argv", ["/x/edge", "bench", "pause", "--output", "a b"])
    assert running_command() == "edge bench pause --output 'a b'"
