from pathlib import Path

import click
import numpy as np
import pytest

from edge.training.golden import golden_rows, published_net, published_phase
from tests.data import measured_data


def test_the_published_network_gives_the_published_output() -> None:
    rows = golden_rows(measured_data("ptychonn_2idd/frames.npz").parent)
    assert [row.name for row in rows] == ["ptycho_golden_mean_rad", "ptycho_golden_max_rad"]
    assert all(row.kept for row in rows)


def test_another_frame_gives_another_answer() -> None:
    folder = measured_data("ptychonn_2idd/frames.npz").parent
    frames = np.load(folder / "frames.npz")["reciprocal"]
    turned = published_phase(np.rot90(frames, 1, (1, 2)), folder / "weights.pth")
    assert np.abs(turned - published_phase(frames, folder / "weights.pth")).mean() > 0.05


def test_it_is_the_size_that_was_published() -> None:
    assert sum(one.numel() for one in published_net().parameters()) == pytest.approx(0.73e6, rel=0.02)


def test_a_folder_without_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match=str(tmp_path)):
        golden_rows(tmp_path)
