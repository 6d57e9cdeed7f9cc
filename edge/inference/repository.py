"""From the shipped models to a repository that a server can run, in a cache folder.

Shipped is one graph per model, the u16 variant. Assembled is one Triton model per item size, in a folder named
by the hash of everything that goes into it: it is written once and never changed, so servers may share it. What it
must hold stands beside it (`<folder>.json`), so one that was damaged is noticed before a server starts on it, and
made anew.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.inference import model_config, variants
from edge.inference.errors import RepositoryError
from edge.inference.model_config import Platform, config_text
from edge.models.spec import ModelSpec

LOG = logging.getLogger(__name__)

Target = Literal["cpu", "tensorrt"]
PLATFORMS: dict[Target, Platform] = {"cpu": "python", "tensorrt": "tensorrt_plan"}
SHIPPED_ITEMSIZE = 2
GRAPH_FILE = "model.onnx"
CONFIG_FILE = "config.pbtxt"
CANARY_FILE = "canary.npz"
BACKEND_MODEL = Path(__file__).with_name("backend_model.py")

SHIPPED = Path(__file__).resolve().parents[2] / "model_repo"
"""Packaged beside `edge`: the same place in a source tree and in an installed wheel. Not looked up by name,
because any folder called model_repo in the working directory would answer to it."""


@dataclass(frozen=True)
class Assembly:
    """What to assemble: `models` for `target`, taken from the repository `source`."""

    target: Target
    models: tuple[ModelSpec, ...]
    ort_threads: int = 1
    source: Path = SHIPPED


def assemble(assembly: Assembly, cache_dir: Path) -> Path:
    """Return the folder of a complete Triton repository, made now if it is not in the cache yet, or is damaged there.

    For "tensorrt" the engines (`model.plan`) are missing: they are built on the serving host. Raises
    RepositoryError where a model is missing or contradicts its spec, or the cache cannot be written.
    """
    final = cache_dir.absolute() / "repositories" / f"{assembly.target}-{_fingerprint(assembly)}"
    if final.is_dir():
        found = _damage(final)
        if not found:
            return final
        LOG.warning("%s is damaged (%s): it is made anew", final, found)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".new-") as new:
            made = Path(new) / "repository"
            made.mkdir()
            for spec in assembly.models:
                _write_model(assembly, spec, made)
            _put_in_place(made, final, Path(new))
    except OSError as error:
        raise RepositoryError(f"{final} cannot be written: {error.strerror}: choose another cache folder") from error
    return final


def versions(name: str, source: Path = SHIPPED) -> list[int]:
    """Version numbers of the model `name`, ascending. Raises RepositoryError where it has none."""
    folder = source / name
    found = sorted(int(path.parent.name) for path in folder.glob(f"*/{GRAPH_FILE}") if path.parent.name.isdigit())
    if not found:
        raise RepositoryError(f"no model {name!r} in {source}: it has {', '.join(_names(source)) or 'none'}")
    return found


def version_folder(name: str, version: int | None = None, source: Path = SHIPPED) -> Path:
    """Folder of one version of the model `name`; None is the newest, the one that serves."""
    return source / name / str(versions(name, source)[-1] if version is None else version)


def model_sha256(name: str, version: int | None = None, source: Path = SHIPPED) -> str:
    """SHA-256 of the shipped graph in hexadecimal: what results carry as `model_sha256`."""
    return hashlib.sha256((version_folder(name, version, source) / GRAPH_FILE).read_bytes()).hexdigest()


def shipped_config(spec: ModelSpec) -> str:
    """The text that `model_repo/<name>/config.pbtxt` must have."""
    return config_text(spec, SHIPPED_ITEMSIZE)


def write_shipped_config(spec: ModelSpec, source: Path = SHIPPED) -> Path:
    """Write `config.pbtxt` of the shipped variant and return its path."""
    path = source / spec.name / CONFIG_FILE
    path.write_text(shipped_config(spec))
    return path


def _write_model(assembly: Assembly, spec: ModelSpec, made: Path) -> None:
    for itemsize in spec.itemsizes:
        folder = made / spec.variant(itemsize)
        folder.mkdir(parents=True)
        text = config_text(spec, itemsize, PLATFORMS[assembly.target], assembly.ort_threads)
        (folder / CONFIG_FILE).write_text(text)
        for version in versions(spec.name, assembly.source):
            graph = (version_folder(spec.name, version, assembly.source) / GRAPH_FILE).read_bytes()
            graph = variants.variant(graph, itemsize)
            variants.check_graph(graph, spec, itemsize)
            place = folder / str(version)
            place.mkdir()
            (place / GRAPH_FILE).write_bytes(graph)
            if assembly.target == "cpu":
                shutil.copyfile(BACKEND_MODEL, place / "model.py")


def _fingerprint(assembly: Assembly) -> str:
    """Hash of the shipped graphs, the specs, the backend's model.py and the code that generates the rest."""
    digest = hashlib.sha256()
    code = [BACKEND_MODEL, *(Path(module.__file__ or "") for module in (model_config, variants)), Path(__file__)]
    for path in code:
        digest.update(path.read_bytes())
    digest.update(f"{assembly.target} {assembly.ort_threads}".encode())
    for spec in assembly.models:
        digest.update(repr(spec).encode())
        for version in versions(spec.name, assembly.source):
            digest.update(f"{version} {model_sha256(spec.name, version, assembly.source)}".encode())
    return digest.hexdigest()[:20]


def _put_in_place(made: Path, final: Path, aside: Path) -> None:
    """Move `made` to `final`; what is there and damaged goes to `aside`, where running servers keep their files."""
    made.chmod(0o755)
    sums = _sums(made)
    written = aside / "sums.json"
    written.write_text(json.dumps(sums, indent=0, sort_keys=True))
    if final.is_dir() and _sums(final) != sums:
        with contextlib.suppress(FileNotFoundError):  # another process is at it too
            final.rename(aside / "damaged")
    written.replace(_sums_path(final))
    try:
        made.rename(final)
    except OSError:
        if not final.is_dir():  # else another process was faster, with the same content
            raise


def _damage(final: Path) -> str:
    """What of `final` is not as it was made; empty where all is."""
    try:
        expected = json.loads(_sums_path(final).read_text())
        found = _sums(final)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    different = (
        sorted({path for path, _ in expected.items() ^ found.items()}) if isinstance(expected, dict) else ["sums"]
    )
    return ", ".join(different)


def _sums_path(final: Path) -> Path:
    return final.with_name(final.name + ".json")


def _sums(folder: Path) -> dict[str, str]:
    """SHA-256 by path of everything in `folder` but what Python caches there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _names(source: Path) -> Sequence[str]:
    return sorted({path.parents[1].name for path in source.glob(f"*/*/{GRAPH_FILE}")})
