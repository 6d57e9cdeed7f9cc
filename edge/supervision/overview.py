"""What runs and what is wrong, from what an `edge up` knows and what the data plane answers. Pure."""

from collections.abc import Sequence

import msgspec

from edge.supervision.machine import State
from edge.supervision.runfolder import ServiceState, UpState
from streams.codecs.handshake import Problem, Readiness

EXIT_WELL = 0
EXIT_WRONG = 1
EXIT_NOTHING = 3


class Overview(msgspec.Struct, frozen=True):
    """All that `edge status` tells."""

    up: UpState | None
    """None: no `edge up` runs with this folder."""
    data_plane: Readiness | None
    """None: it does not answer."""
    problems: tuple[Problem, ...]

    @property
    def exit_code(self) -> int:
        if self.up is None and self.data_plane is None:
            return EXIT_NOTHING
        return EXIT_WRONG if self.problems else EXIT_WELL


def overview(up: UpState | None, answer: Readiness | str, folder: str, config: str) -> Overview:
    """Put together what was found.

    Args:
        up: what the `edge up` that holds the run folder knows.
        answer: the data plane's, or why there is none.
        folder: the run folder.
        config: the configuration file.
    """
    problems = [*_of_services(up.services if up else ())]
    if up is not None and up.stopping:
        problems = [
            Problem("edge up", "is stopping", f"wait until it has ended; then, where wanted: edge up -c {config}")
        ]
    readiness = answer if isinstance(answer, Readiness) else None
    if readiness is not None:
        problems.extend(readiness.problems)
    elif up is None:
        problems.append(
            Problem("edge", f"no `edge up` has the folder {folder}, and {answer}", f"start it: edge up -c {config}")
        )
    elif not up.stopping and not any(each.name == "serve" and each.state != State.READY for each in up.services):
        problems.append(Problem("serve", str(answer), "see its log; restart it if this stays"))
    return Overview(up, readiness, tuple(problems))


def _of_services(services: Sequence[ServiceState]) -> list[Problem]:
    return [Problem(each.name, _why(each), _remedy(each)) for each in services if each.state != State.READY]


def _why(service: ServiceState) -> str:
    says = f" ({service.status})" if service.status else ""
    told = service.reason if service.reason.startswith(service.state) else f"{service.state}: {service.reason}"
    return f"{told}{says}"


def _remedy(service: ServiceState) -> str:
    """What to do about a service that is not ready."""
    if service.state == State.WAITING:
        return "nothing here: it is started when what it needs is ready"
    if service.state in (State.STOPPING, State.STOPPED):
        return "start it again with `edge up` where it is wanted"
    if service.state == State.STARTING and not service.restarts:
        return f"wait; its log is {service.log}"
    return f"it is started again by itself; if it keeps ending, its log says why: {service.log}"
