"""What the serving loop is told of the world around it, and whom it keeps informed. All of it may be left out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.pipeline.readiness import Facts


class Listening(NamedTuple):
    """Where the socket of a source is: the address that it connects to, or is `bound` to."""

    address: str
    bound: bool = False


def _nothing() -> None:
    """Nobody waits for a sign of life."""


def _unheard(text: str) -> None:
    """Nobody wants to know."""


def _unseen(facts: Facts) -> None:
    """Nobody wants to know how things are."""


def _sound() -> Mapping[str, str]:
    """No disk is looked after."""
    return {}


@dataclass(frozen=True)
class Outside:
    """Handed to the serving loop by whoever puts it together.

    Attributes:
        beat: called several times a second for as long as the loop turns: a supervisor's sign of life.
        status: told, when it changes, whether the data plane is ready, in one line.
        listening: of each source, by name.
        required: subscribers without whom nothing may be measured.
        disks: what is wrong with the disks of captures (`recording`) and result files (`results`), by these names.
        seen: told several times a second how things are.
    """

    beat: Callable[[], None] = _nothing
    status: Callable[[str], None] = _unheard
    listening: Mapping[str, Listening] = field(default_factory=dict)
    required: Sequence[str] = ()
    disks: Callable[[], Mapping[str, str]] = _sound
    seen: Callable[[Facts], None] = _unseen
