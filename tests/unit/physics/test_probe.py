"""Probes as files: what is none is said to be none."""

import io
from pathlib import Path

import numpy as np
import pytest

from edge.physics.probe import load_probe, save_probe


def test_modes_come_back(tmp_path: Path) -> None:
    modes = (np.arange(8) * (1 + 2j)).reshape(2, 2, 2).astype(np.complex64)
    save_probe(tmp_path / "probe.npy", modes)
    assert np.array_equal(load_probe(tmp_path / "probe.npy"), modes)


def archive() -> bytes:
    file = io.BytesIO()
    np.savez(file, probe=np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"", "is empty"), (b"\x93NUMPY half", "no array"), (b"PK\x03\x04 cut off", "no array"), (archive(), "no array")],
)
def test_what_is_no_probe_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "probe.npy").write_bytes(content)
    with pytest.raises(ValueError, match=rf"probe\.npy .*{why}"):
        load_probe(tmp_path / "probe.npy")


def test_other_arrays_are_no_probe(tmp_path: Path) -> None:
    np.save(tmp_path / "probe.npy", np.ones((1, 4, 4)))
    with pytest.raises(ValueError, match="not complex modes"):
        load_probe(tmp_path / "probe.npy")
    with pytest.raises(FileNotFoundError):
        load_probe(tmp_path / "nowhere.npy")
