"""Assembly: complete, content-addressed, safe beside others; and the shipped models hold together."""

import importlib
import pkgutil
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

import edge.models
from edge.inference import canary, repository
from edge.inference.errors import RepositoryError
from edge.inference.repository import SHIPPED, Assembly, assemble, model_sha256, version_folder, write_shipped_config
from edge.inference.variants import check_graph, variant
from edge.models.spec import ModelSpec
from tests.unit.inference.graphs import COUNTS, ECHO, write_models


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("models"))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_cpu_repository_is_complete(models: Path, tmp_path: Path) -> None:
    made = assemble(Assembly("cpu", (COUNTS, ECHO), source=models), tmp_path)
    names = [f"{name}_u{bits}" for name in ("counts", "echo") for bits in (8, 16, 32)]
    expected = {f"{name}/{file}" for name in names for file in ("config.pbtxt", "1/model.onnx", "1/model.py")}
    assert files(made) == expected
    shipped = models / "counts" / "1" / "model.onnx"
    assert (made / "counts_u16" / "1" / "model.onnx").read_bytes() == shipped.read_bytes()


def test_tensorrt_repository_waits_for_its_engines(models: Path, tmp_path: Path) -> None:
    made = assemble(Assembly("tensorrt", (COUNTS,), source=models), tmp_path)
    assert files(made / "counts_u8") == {"config.pbtxt", "1/model.onnx"}
    assert 'platform: "tensorrt_plan"' in (made / "counts_u8" / "config.pbtxt").read_text()


def test_same_content_same_folder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Assembly("cpu", (ECHO,), source=models)
    made = assemble(plan, tmp_path)
    before = made.stat().st_mtime_ns
    assert assemble(plan, tmp_path) == made and made.stat().st_mtime_ns == before
    others = [
        assemble(Assembly("cpu", (ECHO,), 2, models), tmp_path),
        assemble(Assembly("cpu", (COUNTS,), source=models), tmp_path),
    ]
    backend = tmp_path / "backend.py"
    backend.write_text(repository.BACKEND_MODEL.read_text() + "\n")
    monkeypatch.setattr(repository, "BACKEND_MODEL", backend)
    others.append(assemble(plan, tmp_path))
    assert len({made, *others}) == 4


def test_many_at_once_make_one(models: Path, tmp_path: Path) -> None:
    found: list[Path] = []
    plan = Assembly("cpu", (COUNTS,), source=models)
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        found.append(assemble(plan, tmp_path))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    names = sorted(path.name for path in (tmp_path / "repositories").iterdir())
    assert names == [found[0].name, f"{found[0].name}.json"]


def damage_of(made: Path, how: str) -> None:
    graph = made / "echo_u16" / "1" / "model.onnx"
    if how == "garbage":
        graph.write_bytes(b"\x00garbage" * 100)
    elif how == "truncated":
        graph.write_bytes(graph.read_bytes()[:50])
    elif how == "removed":
        graph.unlink()
    elif how == "added":  # Triton would serve it, as the newest version
        shutil.copytree(made / "echo_u16" / "1", made / "echo_u16" / "2")
    else:
        made.with_name(f"{made.name}.json").write_text(how)


@pytest.mark.parametrize("how", ["garbage", "truncated", "removed", "added", "", "{", "[]"])
def test_a_damaged_repository_heals(models: Path, tmp_path: Path, how: str) -> None:
    plan = Assembly("cpu", (ECHO,), source=models)
    made = assemble(plan, tmp_path)
    whole = {name: (made / name).read_bytes() for name in files(made)}
    damage_of(made, how)
    assert assemble(plan, tmp_path) == made
    assert {name: (made / name).read_bytes() for name in files(made)} == whole
    before = made.stat().st_ino
    (made / "echo_u16" / "1" / "__pycache__").mkdir()
    (made / "echo_u16" / "1" / "__pycache__" / "model.pyc").write_text("Python's own")
    assert assemble(plan, tmp_path).stat().st_ino == before
    assert sorted(path.name for path in (tmp_path / "repositories").iterdir()) == [made.name, f"{made.name}.json"]


def test_a_failed_assembly_leaves_nothing(models: Path, tmp_path: Path) -> None:
    wrong = ModelSpec("echo", ECHO.frame_shape, COUNTS.outputs, 8)
    with pytest.raises(RepositoryError, match="echo: the graph has"):
        assemble(Assembly("cpu", (wrong,), source=models), tmp_path)
    assert files(tmp_path) == set() and list((tmp_path / "repositories").iterdir()) == []


def test_errors_name_the_remedy(models: Path, tmp_path: Path) -> None:
    absent = ModelSpec("absent", (8, 8), COUNTS.outputs, 8)
    with pytest.raises(RepositoryError, match=r"no model 'absent' in .*: it has counts, echo"):
        assemble(Assembly("cpu", (absent,), source=models), tmp_path)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(RepositoryError, match="choose another cache folder"):
        assemble(Assembly("cpu", (ECHO,), source=models), blocked)


def test_the_newest_version_serves(models: Path, tmp_path: Path) -> None:
    source = write_models(tmp_path / "models")
    newer = source / "echo" / "10"
    newer.mkdir()
    (newer / "model.onnx").write_bytes((source / "echo" / "1" / "model.onnx").read_bytes())
    (source / "echo" / "notes").mkdir()
    assert repository.versions("echo", source) == [1, 10]
    assert version_folder("echo", source=source) == newer
    assert model_sha256("echo", source=source) == model_sha256("echo", 1, source)


def test_the_shipped_config_is_written_as_generated(tmp_path: Path) -> None:
    (tmp_path / "echo").mkdir()
    assert write_shipped_config(ECHO, tmp_path).read_text() == repository.shipped_config(ECHO)


def shipped_specs() -> list[ModelSpec]:
    names = [each.name for each in pkgutil.iter_modules(edge.models.__path__)]
    values = [value for name in names for value in vars(importlib.import_module(f"edge.models.{name}")).values()]
    specs = {value.name: value for value in values if isinstance(value, ModelSpec)}
    folders = {path.parents[1].name for path in SHIPPED.glob("*/*/model.onnx")}
    assert folders <= specs.keys(), "a shipped model has no spec in edge.models"
    return [specs[name] for name in sorted(folders)]


@pytest.mark.parametrize("spec", shipped_specs(), ids=lambda spec: spec.name)
def test_shipped_model_config_and_canary_agree(spec: ModelSpec) -> None:
    folder = version_folder(spec.name)
    assert (SHIPPED / spec.name / "config.pbtxt").read_text() == repository.shipped_config(spec)
    graph = (folder / "model.onnx").read_bytes()
    for itemsize in spec.itemsizes:
        changed = variant(graph, itemsize)
        check_graph(changed, spec, itemsize)
        expected = canary.read_canary(folder, spec, itemsize)
        found = canary.make_canary(changed, expected["frame"])
        for output in spec.outputs:
            assert np.allclose(found[output.name], expected[output.name], rtol=1e-3, atol=1e-3), output.name
