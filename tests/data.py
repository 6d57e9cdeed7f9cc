"""Measured data that the tests use where it is present; it is never part of the project."""

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("EDGE_DATA", Path(__file__).parents[1] / "../shared/data"))


def measured_data(name: str) -> Path:
    """The file `name` of the data folder. Skips where it is missing; in continuous integration that is a failure."""
    path = FOLDER / name
    if not path.exists():
        message = f"measured data are not at {path}; EDGE_DATA names their folder"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path
