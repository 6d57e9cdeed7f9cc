"""Whether a model is at work, by the processor time of its process: one that computes is slow, not hung.

Triton's Python backend runs each model in a process of its own, whose command line names the model's file. Where there
is none (TensorRT), or it cannot be seen (another host), nothing is known, and who does not answer counts as hung.
"""

import os
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")
WINDOW_S = 1.0
LEAST = 0.02
"""Part of a window that a process at work gets of a processor, on a machine with far too much to do, too."""


def processor_s(server: int, model: str, proc: Path = PROC) -> float | None:
    """Seconds of processor time that the process of `model` has had; None where there is no such process.

    Args:
        server: process id of tritonserver, its parent.
    """
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # proc(5): fields from the state on stand behind the name in brackets, which may hold anything
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == server and _runs(entry, model):
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):  # it has ended meanwhile
            continue
    return None


def _runs(entry: Path, model: str) -> bool:
    arguments = (entry / "cmdline").read_bytes().split(b"\0")
    return any(one.endswith(b"/model.py") and f"/{model}/".encode() in one for one in arguments)


class Labour:
    """Looks now and then; for one thread.

    Args:
        measure: processor time of a model so far, in seconds; None: nothing is known.
    """

    def __init__(self, measure: Callable[[str], float | None]) -> None:
        self._measure = measure
        self._seen: dict[str, tuple[float, float]] = {}  # by model: when, and its processor time then
        self._at_work: dict[str, bool] = {}

    def at_work(self, model: str, now_s: float) -> bool:
        """Whether `model` computed in the last second that was looked at; asked often, it looks once a second."""
        at_s, had_s = self._seen.get(model, (now_s, -1.0))
        if had_s < 0 or now_s - at_s >= WINDOW_S:
            has_s = self._measure(model)
            used_s = 0.0 if has_s is None or had_s < 0 else has_s - had_s
            self._at_work[model] = used_s > 0 and used_s >= LEAST * (now_s - at_s)
            self._seen[model] = (now_s, -1.0 if has_s is None else has_s)
        return self._at_work.get(model, False)
