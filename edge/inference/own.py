"""A folder with models of one's own, laid out as the shipped ones, and which version of a model serves.

`<folder>/<model>/<version>/` holds `model.onnx`, `canary.npz` and, as a rule, `card.json`. Where there is a version of
a model, it stands in for the shipped one; the newest serves. A version that was set aside has `.withdrawn` behind its
number; it serves no more, and its number is not given again.

Versions come and go while servers run. So a process decides once, at its start, what it serves, and keeps a copy of
that in the cache (`snapshot`): whatever happens to the folder, its results carry the version and the SHA-256 of what
answered.
"""

import contextlib
import hashlib
import importlib.util
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.inference.canary import read_canary
from edge.inference.errors import CanaryError, RepositoryError
from edge.inference.repository import CANARY_FILE, GRAPH_FILE, SHIPPED, SHIPPED_ITEMSIZE
from edge.inference.variants import check_graph
from edge.models.card import CARD_FILE
from edge.models.spec import ModelSpec

LOG = logging.getLogger(__name__)

WITHDRAWN = ".withdrawn"
KEPT = (GRAPH_FILE, CANARY_FILE, CARD_FILE)
"""What a server needs of a version; weights to go on training from and the like stay where they are."""


@dataclass(frozen=True)
class Version:
    """One version of a model."""

    model: str
    number: int
    folder: Path
    own: bool = False
    withdrawn: bool = False

    @property
    def sha256(self) -> str:
        """Of the graph, in hexadecimal. Raises RepositoryError where it is gone."""
        return hashlib.sha256(_content(self.folder / GRAPH_FILE)).hexdigest()


def versions_of(model: str, own: Path | None, shipped: Path = SHIPPED) -> list[Version]:
    """All versions of a model: the shipped ones, then one's own, those set aside included, each by number."""
    found = list(_versions(model, shipped, own=False))
    return found + (list(_versions(model, own, own=True)) if own is not None else [])


def serving(model: str, own: Path | None, shipped: Path = SHIPPED) -> Version:
    """The version that serves. Raises RepositoryError where there is none, or `own` is no folder."""
    if own is not None and not own.is_dir():
        raise RepositoryError(f"there is no folder {own} for models of your own: make it, or mount its disk")
    standing = [version for version in versions_of(model, own, shipped) if not version.withdrawn]
    if not standing:
        raise RepositoryError(f"no model {model!r} in {shipped}" + (f" or {own}" if own is not None else ""))
    return standing[-1]  # one's own come last


def next_number(model: str, own: Path, shipped: Path = SHIPPED) -> int:
    """A number that no version has or had, and no folder: half of one may lie there, copied or deleted by hand."""
    folders = [path.name for source in (own, shipped) for path in (source / model).glob("*")]
    numbers = [name.removesuffix(WITHDRAWN) for name in folders]
    return 1 + max((int(name) for name in numbers if name.isascii() and name.isdigit()), default=0)


def snapshot(specs: Sequence[ModelSpec], own: Path, cache_dir: Path, shipped: Path = SHIPPED) -> Path:
    """A folder, laid out as the shipped one, with just the versions of these models that serve now; never changed.

    Named by its content, so all who decide alike share it. Raises RepositoryError, one line with cause and remedy,
    where a version lacks its canary, or its graph is not what the model's spec says.
    """
    chosen = [serving(spec.name, own, shipped) for spec in specs]
    contents: dict[str, bytes] = {}
    for spec, version in zip(specs, chosen, strict=True):
        files = checked_files(spec, version)
        contents |= {f"{version.model}/{version.number}/{name}": content for name, content in files.items()}
    final = cache_dir.absolute() / "models" / _digest(contents)
    if not _holds(final, contents):
        _write(final, contents)
    for version in chosen:
        if version.own:
            LOG.info("%s: version %d of %s serves", version.model, version.number, version.folder.parent)
    return final


def checked_files(spec: ModelSpec, version: Version) -> dict[str, bytes]:
    """What a server needs of a version, by name. Raises RepositoryError where it cannot serve as the model."""
    files = {name: _content(version.folder / name) for name in KEPT if _needed(version, name)}
    _check(spec, version, files[GRAPH_FILE])
    try:
        for itemsize in spec.itemsizes if version.own else ():
            read_canary(version.folder, spec, itemsize)
    except CanaryError as error:
        raise RepositoryError(f"{error}: `edge train` writes one; `edge models use` makes another serve") from error
    return files


def foreign(own: Path, known: Sequence[str]) -> list[str]:
    """Names of models in the folder that this release does not know."""
    return sorted({path.parents[1].name for path in own.glob(f"*/*/{GRAPH_FILE}")} - set(known))


def _versions(model: str, source: Path, own: bool) -> Iterator[Version]:
    found = []
    for path in (source / model).glob(f"*/{GRAPH_FILE}"):
        name = path.parent.name.removesuffix(WITHDRAWN) if own else path.parent.name
        if name.isascii() and name.isdigit() and name == str(int(name)):  # "007" would be a second 7
            found.append(Version(model, int(name), path.parent, own, path.parent.name.endswith(WITHDRAWN)))
    yield from sorted(found, key=lambda version: version.number)


def _needed(version: Version, name: str) -> bool:
    if name == CANARY_FILE and not (version.folder / name).is_file():
        raise RepositoryError(
            f"{version.folder} has no {CANARY_FILE}, by which a server is checked: `edge train` writes one; "
            "`edge models use` makes another version serve"
        )
    return name != CARD_FILE or (version.folder / name).is_file()


def _check(spec: ModelSpec, version: Version, graph: bytes) -> None:
    """Refuse a graph that is another model's. Where a server elsewhere runs it, `onnx` may be missing here."""
    if not version.own or importlib.util.find_spec("onnx") is None:
        return
    try:
        check_graph(graph, spec, SHIPPED_ITEMSIZE)
    except RepositoryError as error:
        raise RepositoryError(f"{version.folder / GRAPH_FILE} cannot serve as {version.model}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read: {error.strerror}") from error


def _digest(contents: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name} {hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()[:20]


def _holds(folder: Path, contents: dict[str, bytes]) -> bool:
    """Whether the folder is whole: a cache may be damaged."""
    try:
        return all((folder / name).read_bytes() == content for name, content in contents.items())
    except OSError:
        return False


def _write(final: Path, contents: dict[str, bytes]) -> None:
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=final.parent, prefix=".new-") as new:
            made = Path(new) / "models"
            for name, content in contents.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_bytes(content)
            if final.is_dir():  # damaged
                with contextlib.suppress(FileNotFoundError):  # another process is at it too
                    final.rename(Path(new) / "damaged")
            try:
                made.rename(final)
            except OSError:
                if not _holds(final, contents):  # else another process was faster
                    raise
    except OSError as error:
        raise RepositoryError(f"{final} cannot be written: {error.strerror}: choose another cache folder") from error
