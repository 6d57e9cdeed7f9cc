"""The child process of a rival is played by this interpreter."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edge.physics.anscombe import anscombe
from edge.training.rivals import bm3d, peakfinder8
from edge.training.rivals.calling import RivalError, call, interpreter_with

HERE = Path(sys.executable)
TWICE = """
import json, sys, pathlib, numpy as np
folder = pathlib.Path(sys.argv[1])
times = json.loads((folder / "settings.json").read_text())["times"]
np.save(folder / "out_images.npy", times * np.load(folder / "images.npy"))
"""
AS_IT_WAS = """
import sys, pathlib, numpy as np
folder = pathlib.Path(sys.argv[1])
images = np.load(folder / "images.npy")
np.save(folder / "out_images.npy", images)
np.save(folder / "out_seconds.npy", np.full(len(images), 0.5))
"""


def test_arrays_go_there_and_back(tmp_path):
    script = tmp_path / "twice.py"
    script.write_text(TWICE)
    answer = call(HERE, script, {"images": np.arange(6.0).reshape(2, 3)}, {"times": 2}, 60)
    np.testing.assert_array_equal(answer["images"], [[0, 2, 4], [6, 8, 10]])


def test_what_it_said_is_told(tmp_path):
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit('no such filter')")
    with pytest.raises(RivalError, match="no such filter"):
        call(HERE, script, {}, {}, 60)


def test_a_python_that_is_none(tmp_path):
    with pytest.raises(RivalError, match="nowhere"):
        call(tmp_path / "nowhere", tmp_path / "script.py", {}, {}, 60)


def test_an_answer_that_is_no_array(tmp_path, monkeypatch):
    script = tmp_path / "broken.py"
    script.write_text("import sys, pathlib; (pathlib.Path(sys.argv[1]) / 'out_images.npy').write_bytes(b'none')")
    with pytest.raises(RivalError, match=r"broken\.py"):
        call(HERE, script, {}, {}, 60)
    script.write_text("")
    monkeypatch.setattr(bm3d, "SCRIPT", script)
    monkeypatch.setattr(peakfinder8, "CHILD", script)
    with pytest.raises(RivalError, match="images"):
        bm3d.denoised(np.ones((1, 8, 8), np.uint16), HERE, None)
    with pytest.raises(RivalError, match="count"):
        peakfinder8.find(HERE, [(np.ones((8, 8), np.uint16), (4.0, 4.0))], [peakfinder8.Settings()])


def test_what_takes_too_long_leaves_nothing(tmp_path, monkeypatch):
    """Neither the folder nor a process that the script itself began."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mark = tmp_path / "grandchild"
    script = tmp_path / "slow.py"
    script.write_text(
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(mark)!r}).write_text(str(child.pid))\n"
        "child.wait()\n"
    )
    with pytest.raises(RivalError, match="timed out"):
        call(HERE, script, {}, {}, 3.0)
    assert not list(tmp_path.glob("edge-rival-*"))
    state = Path(f"/proc/{mark.read_text()}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_run_that_is_told_to_end_leaves_nothing(tmp_path):
    """As a scheduler ends one: the script says through a pipe that it has begun, then it would take for ever."""
    pipe, script = tmp_path / "begun", tmp_path / "slow.py"
    os.mkfifo(pipe)
    script.write_text(f"import time; open({str(pipe)!r}, 'w').write('x'); time.sleep(600)")
    asks = (
        "import sys; from pathlib import Path; from edge.training.rivals.calling import call; "
        f"call(Path(sys.executable), Path({str(script)!r}), {{}}, {{}}, 600)"
    )
    with subprocess.Popen([HERE, "-c", asks], env={**os.environ, "TMPDIR": str(tmp_path)}) as asking:
        pipe.read_text()
        assert list(tmp_path.glob("edge-rival-*"))
        asking.terminate()
        assert asking.wait(60) == 128 + signal.SIGTERM
    assert not list(tmp_path.glob("edge-rival-*"))


def test_the_first_interpreter_that_has_it(tmp_path):
    assert interpreter_with([tmp_path / "nowhere", HERE], "numpy") == HERE
    assert interpreter_with([HERE], "no_such_module_anywhere") is None
    assert interpreter_with([], "numpy") is None


def test_why_a_rival_is_not_there_is_told_only_where_none_has_it(tmp_path):
    heard: list[str] = []
    interpreter_with([tmp_path / "nowhere", HERE], "numpy", heard.append)
    assert not heard
    interpreter_with([HERE, tmp_path / "nowhere"], "no_such_module_anywhere", heard.append)
    assert "No module named 'no_such_module_anywhere'" in heard[0] and "nowhere" in heard[1]


def test_bm3d_is_asked_once_a_frame(tmp_path, monkeypatch):
    """With a filter that changes nothing the unbiased inverse is all that is left of it."""
    script = tmp_path / "bm3d_child.py"
    script.write_text(AS_IT_WAS)
    monkeypatch.setattr(bm3d, "SCRIPT", script)
    images = np.random.default_rng(0).poisson(20.0, (bm3d.CHUNK + 1, 8, 8)).astype(np.uint16)
    heard: list[int] = []
    first = bm3d.denoised(images, HERE, tmp_path / "kept", heard.append)
    assert heard == [bm3d.CHUNK, bm3d.CHUNK + 1] and first.seconds.tolist() == [0.5] * len(images)
    np.testing.assert_allclose(first.counts, anscombe(images) ** 2 / 4 - 1 / 8, atol=0.05)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    again = bm3d.denoised(images, tmp_path / "gone", tmp_path / "kept")  # kept: no interpreter is needed
    np.testing.assert_allclose(again.counts, first.counts, rtol=1e-5, atol=1e-5)
    broken = next((tmp_path / "kept").iterdir())
    broken.write_bytes(broken.read_bytes()[:100])
    once_more = bm3d.denoised(images, HERE, tmp_path / "kept")  # what was cut off is asked for again
    np.testing.assert_allclose(once_more.counts, first.counts, rtol=1e-5, atol=1e-5)
    assert len(list((tmp_path / "kept").iterdir())) == 2
