"""A user's own models through the whole data plane: what serves, what results say of it, and what is `untrained`."""

import os
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edge.commands.results import results as results_command
from edge.demo.children import ChildError, child
from edge.inference.repository import model_sha256, version_folder
from edge.models.card import Card, Span, Validity, card_bytes
from edge.results.reader import summarise_file
from streams.messages import Acquisition
from streams.simulation.simulator import Simulation
from streams.sockets import context, push
from tests.system.serving import CONFIG, Station, wait_until

pytestmark = pytest.mark.usefixtures("triton")

IMAGES = 12
VALID = Validity(counts_per_frame=Span(1e6, 1e7), energy_ev=Span(11e3, 12e3))
BRIGHT, DIM = 20_000, 1
"""Counts in each of 120 pixels: within the range of the card, and below it."""


def own_identity(models: Path, number: int, valid: Validity = VALID) -> str:
    """Version `number` of identity, with other bytes and the same answers; its SHA-256."""
    folder = models / "identity" / str(number)
    shutil.copytree(version_folder("identity"), folder)
    graph = onnx.load(str(folder / "model.onnx"))
    graph.doc_string = f"version {number}"
    onnx.save(graph, str(folder / "model.onnx"))
    card = Card("identity", ("nothing",), "none", {}, 0, 0.0, valid)
    (folder / "card.json").write_bytes(card_bytes(card))
    return model_sha256("identity", number, models)


@contextmanager
def serving(folder: Path, models: Path, workers: int = 1) -> Iterator[Station]:
    """`edge serve` with models of one's own and result files."""
    text = CONFIG.replace("[metrics]", f'folder = "{folder}/results"\n\n[server]\nmodels = "{models}"\n\n[metrics]')
    with context() as ctx:
        detector = push(ctx)
        config = text.format(protocol="stream-v2", address=detector.bind("tcp://127.0.0.1:*"), memory_mib=4)
        file = folder / "edge.toml"
        file.write_text(f'{config}\n[up]\nfolder = "{folder}/run"\n')
        with child("serve", ["-c", str(file), "--workers", str(workers)], folder) as addresses:
            at = Station(ctx, detector, "stream-v2", dict(addresses))
            try:
                yield at
            finally:
                at.results.close()


def simulation(number: int, energy_ev: float, counts: int) -> Simulation:
    acquisition = Acquisition(
        number, f"uid-{number}", "2026-01-01T00:00:00Z", IMAGES, (12, 10), "uint16", energy_ev=energy_ev
    )
    return Simulation("stream-v2", acquisition, lambda image_id: np.full((12, 10), counts, np.uint16))


def metric(at: Station, name: str) -> float:
    page = urllib.request.urlopen(at.addresses["metrics"], timeout=5).read().decode()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def untrained_total(at: Station) -> float:
    return metric(at, 'edge_results_untrained_total{route="check"}')


def restarts(at: Station) -> float:
    """Of workers, all up again."""
    up = metric(at, "edge_worker_up{")
    return metric(at, "edge_worker_restarts_total{") if up == 2 and metric(at, "edge_ready") == 1 else 0.0


def test_own_version_serves_and_a_series_outside_its_range_is_labelled(tmp_path: Path) -> None:
    models = tmp_path / "models"
    own_identity(models, 2)
    sha256 = own_identity(models, 3)
    assert sha256 != model_sha256("identity")
    with serving(tmp_path, models) as at:
        at.send(simulation(1, 12_000, BRIGHT))
        within, checksums, ended = at.collect()
        assert {(one.model_version, one.model_sha256, one.untrained) for one in within.values()} == {("3", sha256, ())}
        assert len(checksums) == IMAGES and ended.untrained == ()
        assert untrained_total(at) == 0

        own_identity(models, 4)  # deployed while it serves: for the next start
        at.send(simulation(2, 8_000, BRIGHT))
        elsewhere, _, ended = at.collect()
        reason = "energy 8 keV, trained at 11 to 12 keV"
        assert {(one.model_version, one.untrained) for one in elsewhere.values()} == {("3", (reason,))}
        assert ended.untrained == (reason,) and ended.verdict == "complete"
        assert untrained_total(at) == IMAGES

        at.send(simulation(3, 12_000, DIM))
        dim, _, ended = at.collect()
        reason = "120 counts a frame, trained at 1e+06 to 1e+07"
        assert {one.untrained for one in dim.values()} == {(reason,)} and ended.untrained == (reason,)
    files = sorted((tmp_path / "results").glob("*.h5"))
    wait_until(lambda: len(sorted((tmp_path / "results").glob("*.h5"))) == 3, "three result files")
    told = {summary.series_id: summary.untrained for summary in map(summarise_file, files)}
    assert told[1] is None and told[2] is not None and told[3] is not None
    assert (told[2].results, told[2].reasons) == (IMAGES, ["energy 8 keV, trained at 11 to 12 keV"])
    shown = CliRunner().invoke(results_command, [str(file) for file in files])
    assert shown.exit_code == 0 and shown.output.count("untrained") == 2
    with serving(tmp_path, models) as at:
        at.send(simulation(4, 12_000, BRIGHT))
        assert {one.model_version for one in at.collect()[0].values()} == {"4"}


def test_workers_decide_together(tmp_path: Path) -> None:
    """One that is started anew serves what the others serve, whatever was deployed since."""
    models = tmp_path / "models"
    sha256 = own_identity(models, 2)
    with serving(tmp_path, models, workers=2) as at:
        own_identity(models, 3)
        victim = at.addresses["workers"][0]["pid"]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: restarts(at) == 1, "another process in its place", 60)
        at.send(simulation(1, 8_000, BRIGHT))
        found, _, ended = at.collect(60)
        reason = "energy 8 keV, trained at 11 to 12 keV"
        assert {(one.model_version, one.model_sha256) for one in found.values()} == {("2", sha256)}
        assert {one.untrained for one in found.values()} == {(reason,)} and ended.untrained == (reason,)
        wait_until(lambda: metric(at, 'edge_results_untrained_total{route="check"}') == IMAGES, "the count of all")


def test_a_version_that_cannot_be_checked_stops_the_start(tmp_path: Path) -> None:
    models = tmp_path / "models"
    own_identity(models, 2)
    (models / "identity" / "2" / "canary.npz").unlink()
    with pytest.raises(ChildError, match=r"identity/2 has no canary\.npz"), serving(tmp_path, models):
        pass


def test_a_graph_of_another_model_stops_the_start(tmp_path: Path) -> None:
    models = tmp_path / "models"
    own_identity(models, 2)
    shutil.copyfile(version_folder("peaks") / "model.onnx", models / "identity" / "2" / "model.onnx")
    with pytest.raises(ChildError, match=r"identity/2/model\.onnx cannot serve as identity"), serving(tmp_path, models):
        pass


def test_a_folder_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match=r"there is no folder .*/nowhere"), serving(tmp_path, tmp_path / "nowhere"):
        pass
