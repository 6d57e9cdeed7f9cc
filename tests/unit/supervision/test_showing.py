"""What `edge status` prints for people."""

import io

from rich.console import Console

from edge.commands.status import show
from edge.supervision.overview import overview
from edge.supervision.runfolder import ServiceState, UpState
from streams.codecs.handshake import Problem, Readiness

WORDS = "not ready: model 'peaks' is not ready on the server: tritonserver 674 was killed by SIGKILL and comes again"
UP = UpState(
    594,
    1,
    "boot",
    "/etc/edge.toml",
    0.0,
    (
        ServiceState("triton", "ready", 619, restarts=12, last_end="no beat for 10 s"),
        ServiceState("serve", "ready", 765, status=WORDS),
    ),
    proposal="mx-2345",
)
PROBLEM = Problem("model", "model 'peaks' is not ready on the server", "wait a few seconds, Triton is started again")
PLANE = Readiness("", 1, (PROBLEM,), "o", "0.1", 0, {"det": 1}, {"peaks": False}, (), 0, (), "off", "ok", False)


def shown(terminal: bool) -> list[str]:
    file = io.StringIO()
    found = overview(UP, PLANE, "/run/edge", "/etc/edge.toml")
    show(
        found, Console(file=file, width=80, force_terminal=terminal, no_color=True, color_system=None, highlight=False)
    )
    return file.getvalue().splitlines()


def test_a_pipe_gets_whole_lines() -> None:
    lines = shown(terminal=False)
    assert "proposal mx-2345" in lines[0]
    assert [line.split()[0] for line in lines[1:6]] == ["service", "triton", "last", "serve", "says:"]
    assert lines[3] == "           last end: no beat for 10 s"
    assert lines[5] == f"           says: {WORDS}"
    assert lines[-2:] == [f"{PROBLEM.what}: {PROBLEM.why}", f"  -> {PROBLEM.remedy}"]


def test_a_terminal_gets_lines_that_fit_and_keep_their_indent() -> None:
    lines = shown(terminal=True)
    assert max(map(len, lines)) <= 80
    assert lines[6].startswith("           ") and " ".join(line.strip() for line in lines).count(WORDS) == 1
