import importlib.util
import os

import pytest


def test_torch_is_there():
    """Without it no other test of this folder is collected."""
    if importlib.util.find_spec("torch") is None:
        message = "trainings are not tested without torch: make train"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
