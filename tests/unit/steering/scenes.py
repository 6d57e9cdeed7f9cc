"""Definitions, suggestions and observations for these tests."""

from pathlib import Path

from edge.agent.messages import Observation, Suggestion
from edge.agent.options import Options
from edge.agent.space import Axis, Space
from edge.steering.experiments import Experiments
from edge.steering.words import definition

SPACE = Space((Axis("x", 0.0, 1.0), Axis("y", -2.0, 3.0, speed=5.0)), overhead_s=0.02)
FEW = Options(start_points=6, candidates=100, points=30)
DEFINITION = definition(SPACE, 3, FEW)


def observation(number: int, suggestion: Suggestion | None = None) -> Observation:
    position = suggestion.position if suggestion else {"x": 0.1 + 0.01 * number, "y": 0.5}
    return Observation(f"o{number}", position, float(number), 0.25, suggestion.id if suggestion else None)


def experiments(folder: Path, most_open: int = 4) -> Experiments:
    return Experiments(folder / "agent", most_open)
