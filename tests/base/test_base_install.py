"""The base install as Bluesky users have it: numpy 2, no Triton wheel, no onnxruntime, no torch.

Run by `make test` in an environment of its own; the interpreter with the embedded server is told to it by
EDGE_SERVER_PYTHON.
"""

import importlib
import importlib.util
import os
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import edge
import streams
from edge.models.identity import checksum
from tests.system.serving import image, station

ABSENT = ("pytriton", "onnxruntime", "torch", "tensorrt")
NEEDS_AN_EXTRA = ("edge.training", "edge.inference.backend_model", "edge.commands.train")


def test_this_is_the_base_install():
    assert int(np.__version__.partition(".")[0]) >= 2
    assert [name for name in ABSENT if importlib.util.find_spec(name)] == []


@pytest.mark.parametrize(
    "name",
    [
        module.name
        for package in (edge, streams)
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
        if not module.name.startswith(NEEDS_AN_EXTRA) and not module.name.endswith("__main__")
    ],
)
def test_every_module_imports(name):
    importlib.import_module(name)


@pytest.mark.parametrize("command", ["serve", "replay", "demo", "doctor", "models", "train"])
def test_every_command_has_help(command):
    done = subprocess.run(
        [sys.executable, "-m", "edge", command, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")


def test_serving_without_the_extra_says_what_to_install(tmp_path):
    (tmp_path / "edge.toml").write_text(
        "[[source]]\nname='d'\nprotocol='stream-v2'\naddress='tcp://127.0.0.1:1'\n"
        "[[route]]\nname='r'\nmodel='identity'\n[metrics]\naddress='127.0.0.1:0'\n"
        "[results]\npublish='tcp://127.0.0.1:*'\nhandshake='tcp://127.0.0.1:*'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "edge", "serve", "-c", str(tmp_path / "edge.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "detector-edge[server]" in done.stderr
    assert "Traceback" not in done.stderr


def test_frames_through_a_server_in_another_environment(tmp_path):
    python = os.environ.get("EDGE_SERVER_PYTHON")
    if not python:
        message = "EDGE_SERVER_PYTHON does not name an interpreter with the extra `server`"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with station(tmp_path, settings=f'\n[server]\npython = "{python}"\n') as at:
        at.send(at.simulation(100))
        _, checksums, ended = at.collect()
        assert checksums == {i: checksum(image(i)).tolist() for i in range(100)}
        assert ended.verdict == "complete"
