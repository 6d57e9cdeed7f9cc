"""Models of one's own: which version serves, and that what a process decided stays what it decided."""

import shutil
from pathlib import Path

import pytest

from edge.inference import own as owned
from edge.inference.deploying import add, put_in_place, use, withdraw
from edge.inference.errors import RepositoryError
from edge.inference.own import Version, next_number, serving, snapshot, versions_of
from edge.inference.repository import model_sha256, version_folder, versions
from tests.unit.inference.graphs import COUNTS, ECHO, write_models


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("made"))


@pytest.fixture
def shipped(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "shipped")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    return tmp_path / "own"


def write(made: Path, own: Path, number: int, model: str = "counts") -> Path:
    """A version whose graph is a little longer than others: SHA-256 tells them apart, a server does not."""
    folder = own / model / str(number)
    shutil.copytree(made / model / "1", folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\x32" + bytes([number]) + b"v" * number)  # field 6, the doc string
    return folder


def numbers(found: list[Version]) -> list[tuple[int, bool, bool]]:
    return [(version.number, version.own, version.withdrawn) for version in found]


def test_the_newest_of_ones_own_serves_and_others_are_the_shipped_ones(made: Path, shipped: Path, own: Path):
    assert serving("counts", own, shipped).folder == shipped / "counts" / "1"
    for number in (9, 10):
        write(made, own, number)
    assert serving("counts", own, shipped).folder == own / "counts" / "10"
    assert serving("echo", own, shipped).folder == shipped / "echo" / "1"
    assert serving("counts", None, shipped).folder == shipped / "counts" / "1"


def test_a_lower_number_of_ones_own_stands_in_for_a_shipped_one(made: Path, shipped: Path, own: Path):
    (shipped / "counts" / "1").rename(shipped / "counts" / "5")
    write(made, own, 2)
    assert serving("counts", own, shipped).number == 2
    assert next_number("counts", own, shipped) == 6


def test_other_folders_are_no_versions(made: Path, shipped: Path, own: Path):
    for name in (".tuning-ab", "2.old", "two", "3"):
        (own / "counts" / name).mkdir(parents=True)
    (own / "counts" / ".tuning-ab" / "model.onnx").write_bytes(b"")
    assert numbers(versions_of("counts", own, shipped)) == [(1, False, False)]
    write(made, own, 4, "echo")
    assert owned.foreign(own, ["counts"]) == ["echo"]


def test_set_aside_and_brought_back(made: Path, shipped: Path, own: Path):
    for number in (2, 3, 4):
        write(made, own, number)
    assert [version.number for version in use("counts", 2, own, shipped)] == [4, 3]
    assert serving("counts", own, shipped).number == 2 and next_number("counts", own, shipped) == 5
    assert use("counts", 3, own, shipped) == [] and serving("counts", own, shipped).number == 3
    assert [version.number for version in use("counts", 1, own, shipped)] == [3, 2]
    assert not serving("counts", own, shipped).own
    standing = [(1, False, False), (2, True, True), (3, True, True), (4, True, True)]
    assert numbers(versions_of("counts", own, shipped)) == standing
    with pytest.raises(RepositoryError, match="no version 7: there are 1, 2, 3, 4"):
        use("counts", 7, own, shipped)
    with pytest.raises(RepositoryError, match="is shipped"):
        withdraw(serving("counts", own, shipped))


def test_a_snapshot_holds_what_serves_and_stays(made: Path, shipped: Path, own: Path, tmp_path: Path):
    write(made, own, 2)
    folder = write(made, own, 3)
    (folder / "weights.npz").write_bytes(b"of no use to a server")
    kept = snapshot((COUNTS, ECHO), own, tmp_path / "cache", shipped)
    files = {str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()}
    assert files == {f"{name}/{file}" for name in ("counts/3", "echo/1") for file in ("model.onnx", "canary.npz")}
    assert versions("counts", kept) == [3]
    assert model_sha256("counts", source=kept) == model_sha256("counts", 3, own) != model_sha256("counts", 2, own)
    assert snapshot((COUNTS, ECHO), kept, tmp_path / "cache", shipped) == kept, "a process hands it to its children"
    withdraw(serving("counts", own, shipped))
    write(made, own, 4)
    other = snapshot((COUNTS, ECHO), own, tmp_path / "cache", shipped)
    assert other != kept and versions("counts", kept) == [3] and versions("counts", other) == [4]


def test_a_damaged_snapshot_is_made_anew(made: Path, shipped: Path, own: Path, tmp_path: Path):
    write(made, own, 2)
    kept = snapshot((COUNTS,), own, tmp_path / "cache", shipped)
    (kept / "counts" / "2" / "model.onnx").write_bytes(b"half")
    assert snapshot((COUNTS,), own, tmp_path / "cache", shipped) == kept
    assert model_sha256("counts", source=kept) == model_sha256("counts", 2, own)


def test_errors_say_what_to_do(made: Path, shipped: Path, own: Path, tmp_path: Path):
    with pytest.raises(RepositoryError, match=r"there is no folder .* make it"):
        snapshot((COUNTS,), own / "nowhere", tmp_path, shipped)
    folder = write(made, own, 2)
    (folder / "canary.npz").unlink()
    with pytest.raises(RepositoryError, match=r"counts/2 has no canary\.npz.*edge models use"):
        snapshot((COUNTS,), own, tmp_path, shipped)
    shutil.copyfile(made / "counts" / "1" / "canary.npz", folder / "canary.npz")
    shutil.copyfile(made / "echo" / "1" / "model.onnx", folder / "model.onnx")
    with pytest.raises(RepositoryError, match=r"counts/2/model\.onnx cannot serve as counts"):
        snapshot((COUNTS,), own, tmp_path, shipped)
    with pytest.raises(RepositoryError, match="no model 'counts'"):
        serving("counts", None, tmp_path / "nothing")


def test_a_trained_version_is_added(made: Path, shipped: Path, own: Path):
    added = add(COUNTS, made / "counts" / "1", own, shipped)
    assert added == serving("counts", own, shipped) and added.number == 2
    assert {path.name for path in added.folder.iterdir()} == {"model.onnx", "canary.npz"}
    with pytest.raises(RepositoryError, match="cannot serve as counts"):
        add(COUNTS, made / "echo" / "1", own, shipped)
    assert {path.name for path in (own / "counts").iterdir()} == {"2"}, "nothing is left of it"


def test_a_version_is_put_in_place_whole_or_not(made: Path, own: Path):
    folder = write(made, own, 2)
    with pytest.raises(RepositoryError, match=r"counts/2 exists"):
        put_in_place(write(made, own, 3), folder)
    assert (own / "counts" / "3").is_dir()
    assert version_folder("counts", source=own) == own / "counts" / "3"


def test_a_folder_that_holds_the_folder_that_is_copied_to(made: Path, shipped: Path, tmp_path: Path):
    """`edge train --out .`, and the models in `./models`."""
    here = shutil.copytree(made / "counts" / "1", tmp_path / "here")
    (here / "models").mkdir()
    (here / "up").symlink_to(here)
    (here / "secret.txt").symlink_to(tmp_path)
    (tmp_path / "elsewhere").write_text("of no use to a server")
    (here / "linked").symlink_to(tmp_path / "elsewhere")
    (here / "weights.npz").write_bytes(b"numbers")
    (here / "fit.ckpt").write_bytes(b"half of a training")
    (here / "model.onnx").rename(tmp_path / "graph")
    (here / "model.onnx").symlink_to(tmp_path / "graph")  # what serves may be a link; it is copied
    added = add(COUNTS, here, here / "models", shipped)
    assert {path.name for path in added.folder.iterdir()} == {"model.onnx", "canary.npz", "weights.npz"}
    assert not any(path.is_symlink() or path.is_dir() for path in added.folder.iterdir())


def test_half_a_version_keeps_its_number(made: Path, shipped: Path, own: Path):
    for name in ("2", "7.withdrawn"):
        (own / "counts" / name).mkdir(parents=True)
    assert next_number("counts", own, shipped) == 8
    assert add(COUNTS, made / "counts" / "1", own, shipped).number == 8


def test_a_number_is_written_in_one_way(made: Path, shipped: Path, own: Path):
    write(made, own, 7)
    shutil.copytree(own / "counts" / "7", own / "counts" / "007")
    assert numbers(versions_of("counts", own, shipped)) == [(1, False, False), (7, True, False)]


@pytest.mark.parametrize("content", [b"", b"half", b"PK\x03\x04 cut off"])
def test_a_damaged_canary_is_refused_before_it_serves(
    made: Path, shipped: Path, own: Path, tmp_path: Path, content: bytes
):
    (write(made, own, 2) / "canary.npz").write_bytes(content)
    with pytest.raises(RepositoryError, match=r"no usable canary.*counts/2/canary\.npz.*edge models use"):
        snapshot((COUNTS,), own, tmp_path / "cache", shipped)
    with pytest.raises(RepositoryError, match="no usable canary"):
        add(COUNTS, own / "counts" / "2", own, shipped)
