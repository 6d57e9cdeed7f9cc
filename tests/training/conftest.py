"""These tests train for real, if only for seconds: they need torch (the extra `train`)."""

import importlib.util
from pathlib import Path

if importlib.util.find_spec("torch") is None:
    # `test_torch` says so.
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.name != "test_torch.py"]
