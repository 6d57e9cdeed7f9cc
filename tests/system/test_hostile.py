"""`edge bench hostile` for a few seconds: the real thing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.bench.hostile.attacks import ATTACKS
from edge.bench.rows import by_name
from tests.data import FOLDER


@pytest.fixture(scope="module")
def attacked(triton: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The rows of a run."""
    folder = tmp_path_factory.mktemp("hostile")
    line = [sys.executable, "-m", "edge", "bench", "hostile", "--seconds", "8", "--output", str(folder)]
    environment = {**os.environ, "EDGE_DATA": str(FOLDER)} if Path(FOLDER).exists() else dict(os.environ)
    done = subprocess.run(
        [*line, "--json", str(folder / "hostile.json")], capture_output=True, text=True, timeout=240, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return by_name(json.loads((folder / "hostile.json").read_text()))


def test_nothing_dies_and_nobody_is_let_in(attacked: dict[str, dict]) -> None:
    assert attacked["died"]["value"] == attacked["ports_closed"]["value"] == attacked["let_in"]["value"] == 0


def test_every_series_is_complete(attacked: dict[str, dict]) -> None:
    assert attacked["results"]["value"] == attacked["results_due"]["value"] > 0
    for name in ("unaccounted", "duplicates", "lost", "series_incomplete"):
        assert attacked[name]["value"] == 0, name


def test_every_port_is_attacked(attacked: dict[str, dict]) -> None:
    owners = {port.rpartition(" ")[2] for port in attacked["ports"]["detail"]}
    assert {"serve", "agent", "tritonserver"} <= owners
    assert set(attacked["attacks"]["detail"]) == set(ATTACKS)


@pytest.mark.parametrize(
    "counter",
    ["edge_handshakes_refused", "edge_connections_refused", "edge_http_refused", "edge_messages_malformed"],
)
def test_counters_tell(attacked: dict[str, dict], counter: str) -> None:
    assert sum(row["value"] for name, row in attacked.items() if name.startswith(f"counted/{counter}")) > 0
