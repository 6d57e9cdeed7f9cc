"""Runs `edge serve` as a child for as long as a demo lasts."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 30.0
LAST_LINES = 6


class DataPlaneError(RuntimeError):
    """`edge serve` did not become ready, or ended; the text holds what it said."""


@contextmanager
def data_plane(config: str, folder: Path, triton_url: str | None = None) -> Iterator[Mapping[str, Any]]:
    """`edge serve` with the TOML text `config`; yields its real addresses once it is ready.

    The child watches its standard input: when this process ends, however it ends, the pipe closes and the
    child stops by itself, Triton with it.

    Raises:
        DataPlaneError: it did not become ready.
    """
    config_file, log_file = folder / "edge.toml", folder / "serve.log"
    config_file.write_text(config)
    command = [sys.executable, "-P", "-m", "edge", "serve", "--json", "--stop-at-eof", "-c", str(config_file)]
    if triton_url:
        command += ["--triton-url", triton_url]
    with log_file.open("w") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    try:
        assert child.stdout is not None
        line = child.stdout.readline()
        if not line:
            child.wait(STOP_TIMEOUT_S)
            raise DataPlaneError(_last_words(log_file))
        yield json.loads(line)
    finally:
        _stop(child)


def _stop(child: "subprocess.Popen[str]") -> None:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.close()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


def _last_words(log_file: Path) -> str:
    lines = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1].removeprefix("Error: ")
    said = " | ".join(lines[-LAST_LINES:]) or "nothing"
    return f"edge serve ended before it was ready; it said: {said} (see {log_file})"
