"""Where the measured test data are."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def measured(name: str) -> Path:
    """The file or folder `name` of the test data; skips the test where there are none, but fails it in CI."""
    path = Path(os.environ.get("EDGE_DATA", ROOT / "../shared/data")) / name
    if not path.exists():
        reason = f"no measured data at {path}: set EDGE_DATA to their folder"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path
