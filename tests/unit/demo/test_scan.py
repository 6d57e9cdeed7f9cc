import io

import numpy as np
import pytest

from edge.demo import scan as demo
from edge.models.ptycho import FRAME_PX, OFFSET_PX, PATCH_PX
from edge.scanfiles import ScanFileError
from edge.training.split import block_split
from tests.data import measured_data

STAR = "siemens_star/siemens-star-small.npz.bz2"


@pytest.fixture(autouse=True)
def few_frames(monkeypatch):
    monkeypatch.setattr(demo, "SIMULATED_FRAMES", 36)


def perfect(scan: demo.PtychoScan) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """Patches cut from the truth itself, at whole pixels."""
    assert scan.reference is not None
    phases, amplitudes = {}, {}
    for at, position in enumerate(scan.reference.positions):
        row, col = np.round(position).astype(int) + OFFSET_PX
        patch = scan.reference.image[row : row + PATCH_PX, col : col + PATCH_PX]
        phases[at], amplitudes[at] = np.angle(patch), np.abs(patch)
    return phases, amplitudes


def test_a_simulated_scan_is_the_same_for_the_same_seed():
    one, same, other = demo.simulated(3, 5), demo.simulated(3, 5), demo.simulated(4, 5)
    assert one.count == 5
    assert one.frame(4).dtype == np.uint16
    assert one.frame(4).shape == (FRAME_PX, FRAME_PX)
    np.testing.assert_array_equal(one.frame(4), same.frame(4))
    assert (one.frame(4) != other.frame(4)).any()


def test_the_truth_is_judged_as_right():
    scan = demo.simulated(0, 30)
    judged = demo.judge(scan, *perfect(scan))
    assert judged["judged_frames"] == 30
    assert judged["phase_mae_rad"] < 0.25 * judged["phase_mae_constant_rad"]


def test_nothing_is_judged_without_results():
    assert demo.judge(demo.simulated(0, 2), {}, {}) == {}


def test_of_the_scan_that_gave_the_probe_only_the_test_block_is_judged():
    scan = demo.measured(measured_data(STAR), None, None)
    assert scan.reference is not None
    split = block_split(scan.positions, FRAME_PX)
    assert scan.reference.judged.tolist() == split.test.tolist()
    gap = scan.positions[split.training, 0].min() - scan.positions[split.test, 0].max()
    assert gap >= FRAME_PX
    assert demo.reference_on_canvas(scan).shape == scan.canvas.shape


def test_of_another_scan_every_frame_is_judged(tmp_path):
    frames = np.ones((3, FRAME_PX, FRAME_PX), np.uint16)
    positions = np.array([[0, 0], [0, 9], [9, 0]], float)
    np.savez(tmp_path / "scan.npz", data=frames[None], scan=positions[None])
    np.savez(
        tmp_path / demo.REFERENCE_NAME,
        O=np.ones((160, 160), np.complex64),
        ip=positions.astype(int) + 5,
        fr=np.zeros((3, 2)),
    )
    scan = demo.measured(tmp_path / "scan.npz", None, None)
    assert scan.reference is not None
    assert scan.reference.judged.tolist() == [0, 1, 2]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04", b"no archive"])
def test_a_broken_reference_is_named(damage, tmp_path):
    frames, positions = np.ones((3, FRAME_PX, FRAME_PX), np.uint16), np.zeros((3, 2))
    np.savez(tmp_path / "scan.npz", data=frames[None], scan=positions[None])
    (tmp_path / "reference.npz").write_bytes(damage)
    with pytest.raises(ScanFileError, match="no reference"):
        demo.measured(tmp_path / "scan.npz", tmp_path / "reference.npz", None)


def test_a_reference_of_another_scan_is_refused(tmp_path):
    frames, positions = np.ones((3, FRAME_PX, FRAME_PX), np.uint16), np.zeros((3, 2))
    np.savez(tmp_path / "scan.npz", data=frames[None], scan=positions[None])
    packed = io.BytesIO()
    np.savez(packed, O=np.ones((160, 160), np.complex64), ip=np.zeros((7, 2), int), fr=np.zeros((7, 2)))
    (tmp_path / "reference.npz").write_bytes(packed.getvalue())
    with pytest.raises(demo.ScanError, match="7 frames"):
        demo.measured(tmp_path / "scan.npz", tmp_path / "reference.npz", None)
