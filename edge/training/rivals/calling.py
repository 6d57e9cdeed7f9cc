"""Runs a rival of a model in a Python environment of the user's own.

Some methods worth comparing with have licences that keep them out of this project (GPL, non-commercial). A user who has
one names the interpreter that can import it; a small script beside this module runs there, and neither imports the
other. They share a folder: one `NAME.npy` an array, `settings.json`, and what the script writes as `out_NAME.npy`.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

ENVIRONMENT = "EDGE_RIVAL_PYTHON"
ANSWER = "out_"
IMPORT_S = 60.0


class RivalError(RuntimeError):
    """The rival's script failed; the message ends with what it said."""


def rival_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--rival-python` to a command, which hears it as `rival_python`, a tuple of paths."""
    return click.option(
        "--rival-python",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        multiple=True,
        envvar=ENVIRONMENT,
        show_envvar=True,
        help="Python of another environment that has a rival installed; may be given more than once.",
    )(command)


def warn(why: str) -> None:
    """Says on the error stream why a rival that was named is not there."""
    click.echo(why, err=True)


def interpreter_with(
    pythons: Sequence[Path], module: str, hear: Callable[[str], None] = lambda why: None
) -> Path | None:
    """The first of `pythons` that can import `module`; None where none can: then `hear` is told why, one by one."""
    reasons = []
    for python in pythons:
        why = _refusal(python, module)
        if not why:
            return python
        reasons.append(f"{python} cannot import {module}: {why}")
    for reason in reasons:
        hear(reason)
    return None


def _refusal(python: Path, module: str) -> str:
    """The last line of what it says; "" where it imports the module."""
    try:
        asked = [str(python), "-I", "-c", f"import {module}"]
        ended = subprocess.run(asked, capture_output=True, text=True, timeout=IMPORT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    said = ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"]
    return said[-1] if ended.returncode else ""


def call(
    python: Path,
    script: Path,
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    timeout_s: float,
) -> dict[str, NDArray[Any]]:
    """What `script` answers, by name. It is run as `python -I script FOLDER`.

    Raises RivalError when it fails, answers what is no array, or takes longer than `timeout_s`.
    """
    with _ended_in_order(), tempfile.TemporaryDirectory(prefix="edge-rival-") as name:
        folder = Path(name)
        for key, array in arrays.items():
            np.save(folder / f"{key}.npy", array, allow_pickle=False)
        (folder / "settings.json").write_text(json.dumps(dict(settings)))
        try:
            _run([str(python), "-I", str(script), name], timeout_s)
            found = sorted(folder.glob(f"{ANSWER}*.npy"))
            return {path.stem.removeprefix(ANSWER): np.load(path, allow_pickle=False) for path in found}
        except (OSError, EOFError, ValueError, subprocess.SubprocessError, RivalError) as error:
            raise RivalError(f"{script.name} under {python}: {error}") from error


def _run(asked: Sequence[str], timeout_s: float) -> None:
    """Runs a command in a session of its own, of which nothing is left however it ends.

    Raises OSError, subprocess.TimeoutExpired, and RivalError when it fails.
    """
    child = subprocess.Popen(
        asked, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, said = child.communicate(timeout=timeout_s)
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
    if child.returncode:
        raise RivalError(f"it ended with {child.returncode}: {said[-500:]}")


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Lets SIGTERM end this process by SystemExit, so that what is temporary is removed and the child ends, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
