"""Runs commands of ours as children for as long as a demo lasts: `edge serve`, `edge simulate`."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STOP_TIMEOUT_S = 30.0
LAST_LINES = 6


class ChildError(RuntimeError):
    """A command did not become ready, or ended; the text holds what it said."""


@contextmanager
def data_plane(config: str, folder: Path, triton_url: str | None = None) -> Iterator[Mapping[str, Any]]:
    """`edge serve` with the TOML text `config`; yields its real addresses once it is ready.

    Raises:
        ChildError: it did not become ready.
    """
    config_file = folder / "edge.toml"
    config_file.write_text(config)
    where = ["--triton-url", triton_url] if triton_url else []
    with child("serve", ["-c", str(config_file), *where], folder) as addresses:
        yield addresses


@contextmanager
def child(command: str, arguments: Sequence[str], folder: Path) -> Iterator[Mapping[str, Any]]:
    """`edge COMMAND --json --stop-at-eof ARGUMENTS`; yields what it prints once it is ready.

    The child watches its standard input: when this process ends, however it ends, the pipe closes and the
    child stops by itself, its own children with it. What it logs goes to COMMAND.log in `folder`.

    Raises:
        ChildError: it did not become ready.
    """
    log_file = folder / f"{command}.log"
    line = [sys.executable, "-P", "-m", "edge", command, "--json", "--stop-at-eof", *arguments]
    with log_file.open("w") as log:
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
        )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if not ready:
            process.wait(STOP_TIMEOUT_S)
            raise ChildError(_last_words(command, log_file))
        yield json.loads(ready)
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def _last_words(command: str, log_file: Path) -> str:
    lines = [line for line in log_file.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    if errors:
        return errors[-1].removeprefix("Error: ")
    said = " | ".join(lines[-LAST_LINES:]) or "nothing"
    return f"edge {command} ended before it was ready; it said: {said} (see {log_file})"
