"""Versions of one's own are put in place, set aside and brought back: each by one rename, whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path

from edge.inference.errors import RepositoryError
from edge.inference.own import WITHDRAWN, Version, checked_files, next_number, versions_of
from edge.inference.repository import SHIPPED
from edge.models.spec import ModelSpec


def use(model: str, number: int | None, own: Path, shipped: Path = SHIPPED) -> list[Version]:
    """Have version `number` serve from the next start of a server on; returns those set aside for it.

    Later versions are set aside, the newest first, so that whenever this is cut short one of them serves. The number
    of a shipped version, or None, sets all of one's own aside. Raises RepositoryError where there is no such version.
    """
    every = versions_of(model, own, shipped)
    if number is None:
        return [withdraw(version) for version in reversed(every) if version.own and not version.withdrawn]
    wanted = [version for version in every if version.number == number]
    if not wanted:
        known = ", ".join(str(version.number) for version in every)
        raise RepositoryError(f"{model} has no version {number}: there are {known or 'none'}")
    chosen = wanted[-1]
    if chosen.withdrawn:
        chosen = restore(chosen)
    standing = [version for version in every if version.own and not version.withdrawn and version.number != number]
    later = [version for version in standing if not chosen.own or version.number > number]
    return [withdraw(version) for version in reversed(later)]


def withdraw(version: Version) -> Version:
    """Set a version of one's own aside. Raises RepositoryError where it cannot be."""
    if not version.own:
        raise RepositoryError(f"version {version.number} of {version.model} is shipped and cannot be set aside")
    return _renamed(version, f"{version.number}{WITHDRAWN}", True)


def restore(version: Version) -> Version:
    """Undo `withdraw`. Raises RepositoryError where it cannot be."""
    return _renamed(version, str(version.number), False)


def add(spec: ModelSpec, made: Path, own: Path, shipped: Path = SHIPPED) -> Version:
    """Copy a version folder, one that `edge train` wrote, to the next version of one's own.

    Plain files alone, and no checkpoints: a folder in it may hold the very folder that is copied to, and a link that
    is of no use to a server may lead anywhere.

    Raises RepositoryError where its graph is not what the spec says, its canary is missing, or it cannot be written.
    """
    if not own.is_dir():
        raise RepositoryError(f"there is no folder {own} for models of your own: make it, or mount its disk")
    number = next_number(spec.name, own, shipped)
    served = checked_files(spec, Version(spec.name, number, made, own=True))
    folder = own / spec.name
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as new:
            copy = Path(new) / "version"
            copy.mkdir()
            for name, content in served.items():
                (copy / name).write_bytes(content)
            for path in made.iterdir():
                if path.name not in served and path.is_file() and not path.is_symlink() and path.suffix != ".ckpt":
                    shutil.copyfile(path, copy / path.name)
            put_in_place(copy, folder / str(number))
    except OSError as error:
        raise RepositoryError(f"{folder} cannot be written: {error.strerror or error}") from error
    return Version(spec.name, number, folder / str(number), own=True)


def put_in_place(made: Path, final: Path) -> None:
    """Make the folder `made` the version `final`, by one rename: it is there whole, also after a power cut, or not.

    Raises RepositoryError where it cannot be.
    """
    try:
        sync(made)
        if final.exists():  # a rename would take the place of an empty folder
            raise FileExistsError(f"{final} exists: move it away")
        made.chmod(0o755)
        made.rename(final)
        _sync(final.parent)
    except OSError as error:
        raise RepositoryError(f"{final} cannot be put in place: {error.strerror or error}") from error


def sync(folder: Path) -> None:
    """Have the files of a folder, and itself, outlast a power cut. Raises OSError."""
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _renamed(version: Version, name: str, withdrawn: bool) -> Version:
    folder = version.folder.with_name(name)
    try:
        if folder.exists():  # a rename would take the place of an empty folder
            raise FileExistsError(f"{folder} exists")
        version.folder.rename(folder)
    except OSError as error:
        raise RepositoryError(f"{version.folder} cannot be renamed to {name}: {error.strerror or error}") from error
    return Version(version.model, version.number, folder, version.own, withdrawn)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
