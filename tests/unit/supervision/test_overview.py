"""What `edge status` makes of what it finds."""

import msgspec
import pytest

from edge.supervision.overview import EXIT_NOTHING, EXIT_WELL, EXIT_WRONG, overview
from edge.supervision.runfolder import ServiceState, UpState
from streams.codecs.handshake import Problem, Readiness

SILENT = "nobody answers at tcp://127.0.0.1:5601 for 2 s"


def up(**states: str) -> UpState:
    services = tuple(
        ServiceState(name, state, reason="ended: exit code 1", status="at work", log=f"/run/{name}.log")
        for name, state in states.items()
    )
    return UpState(1, 1, "boot", "edge.toml", 0.0, services)


def answer(*problems: Problem) -> Readiness:
    return Readiness("", 1, problems, "o", "0.1", 0, {}, {}, (), 0, (), "off", "off", False)


@pytest.mark.parametrize(
    ("known", "plane", "code", "problems"),
    [
        (up(triton="ready", serve="ready"), answer(), EXIT_WELL, []),
        (None, answer(), EXIT_WELL, []),  # under systemd
        (None, SILENT, EXIT_NOTHING, ["edge"]),
        (up(triton="ready", serve="ready"), SILENT, EXIT_WRONG, ["serve"]),
        (up(triton="backing-off", serve="waiting"), SILENT, EXIT_WRONG, ["triton", "serve"]),
        (up(serve="ready", agent="stopped"), answer(), EXIT_WRONG, ["agent"]),
        (up(serve="ready"), answer(Problem("connection", "no peer", "switch it on")), EXIT_WRONG, ["connection"]),
        (None, answer(Problem("connection", "no peer", "switch it on")), EXIT_WRONG, ["connection"]),
    ],
)
def test_findings(known: UpState | None, plane: Readiness | str, code: int, problems: list[str]) -> None:
    found = overview(known, plane, "/run/edge", "/etc/edge.toml")
    assert (found.exit_code, [problem.what for problem in found.problems]) == (code, problems)
    assert all(problem.why and problem.remedy for problem in found.problems)


def test_a_service_that_keeps_ending_is_told_with_its_log() -> None:
    problem = overview(up(serve="backing-off"), SILENT, "/run/edge", "/etc/edge.toml").problems[0]
    assert problem.why == "backing-off: ended: exit code 1 (at work)" and "/run/serve.log" in problem.remedy


def test_one_that_is_stopping_is_one_problem() -> None:
    stopping = msgspec.structs.replace(up(triton="ready", serve="stopping", agent="stopped"), stopping=True)
    found = overview(stopping, SILENT, "/run/edge", "/etc/edge.toml")
    assert [problem.what for problem in found.problems] == ["edge up"] and found.exit_code == EXIT_WRONG
