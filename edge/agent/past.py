"""What an agent did before it was stopped: enough for another one to go on where it left off.

Suggestions are taken as they were made, never computed again: trainings end when they end, so that an agent that only
saw the same observations again would have suggested other positions.
"""

from dataclasses import dataclass
from typing import TypeAlias

from edge.agent.hyperparameters import Hyperparameters
from edge.agent.messages import Observation, Suggestion


@dataclass(frozen=True)
class Abandoned:
    """These will not be measured."""

    suggestion_ids: tuple[str, ...]


@dataclass(frozen=True)
class Learned:
    """What an agent goes by since a training, or since it first asked a surrogate."""

    version: int  # of the surrogate
    trained_on: int  # observations; 0: the hyperparameters are those believed beforehand
    hyperparameters: Hyperparameters
    tour: tuple[int, ...]  # numbers of the candidates that are planned, in the order of measuring


Past: TypeAlias = Suggestion | Observation | Abandoned | Learned
"""One thing that an agent did or was told, in their order."""
