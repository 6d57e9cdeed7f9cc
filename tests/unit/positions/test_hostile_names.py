"""Unique ids of series come from the wire: whatever they are, no other folder is read, and the data plane goes on."""

from functools import partial

import numpy as np
import pytest

from edge.pipeline.batching import Pending
from edge.pipeline.position_sources import FilePositions
from edge.pipeline.record import SeriesRecord
from edge.positions.files import load
from streams.ledger.series import Series
from streams.messages import SeriesStart
from streams.positions.headers import AxisOf, Known, Missing, Verdict, Why


def asked(pattern: str, uid: str) -> Verdict:
    """What is known of the position of image 0 of a series called `uid`."""
    files = FilePositions(pattern, partial(load, axes=[AxisOf("x", ("0",))]))
    series = SeriesRecord(Series(SeriesStart("det", uid, 1, 10, ("image",)), announced=True, now_ns=0), ["r"])
    files.opened(series)
    files._reader.shutdown(wait=True)
    return files.position(Pending(series, None, 0, 0, "image", (1, 1), 2, None, 0, 0))


@pytest.fixture
def scans(tmp_path):
    """A folder of positions; a secret lies beside it."""
    folder = tmp_path / "scans"
    folder.mkdir()
    np.save(tmp_path / "secret.npy", np.full((1, 1), 42.0))
    np.save(folder / "good.npy", np.full((1, 1), 1.0))
    (folder / "link.npy").symlink_to(tmp_path / "secret.npy")
    return folder


def test_a_name_chooses_in_the_folder(scans):
    assert asked(f"{scans}/{{series_uid}}.npy", "good") == Known({"x": 1.0})


@pytest.mark.parametrize(
    ("pattern", "uid"),
    [
        ("{series_uid}.npy", "../secret"),
        ("{series_uid}.npy", "../../etc/passwd"),
        ("{series_uid}.npy", "/etc/passwd"),
        ("{series_uid}.npy", "link"),
        ("{series_uid}.npy", "good\0"),
        ("{series_uid}.npy", "x" * 5000),
        ("{series_uid}.npy", "\ud800"),
        ("{series_uid}/secret.npy", ".."),
        ("{series_uid}/secret.npy", ""),
    ],
)
def test_no_name_leads_out_of_it(scans, pattern, uid, caplog):
    assert asked(f"{scans}/{pattern}", uid) == Missing(Why.NO_FILE)
    assert caplog.text.count("results have no positions") == 1
