"""What an evaluation is given, looked at before minutes are spent: folders with a graph or with measured files."""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from edge.inference.repository import GRAPH_FILE, version_folder


def graph_in(name: str, folder: Path | None) -> Path:
    """The version's `folder`, that of the shipped model `name` where none is given. Raises ClickException when it
    holds no graph."""
    folder = folder or version_folder(name)
    if not (folder / GRAPH_FILE).is_file():
        raise click.ClickException(f"{folder} holds no {GRAPH_FILE}: name a version's folder, such as {name}/1")
    return folder


def needed(folder: Path | None, files: Sequence[str]) -> None:
    """Raises ClickException when one of the `files` is not below the `folder`; no folder needs none."""
    absent = [file for file in files if folder is not None and not (folder / file).is_file()]
    if absent:
        there_is_no = f"--data {folder}: there is no {', no '.join(absent)} below it"
        raise click.ClickException(f"{there_is_no}; leave out --data to judge on simulation alone")


@contextmanager
def readable(folder: Path | None) -> Iterator[None]:
    """Where measured files are read. Raises ClickException when one is broken, or another than its name says."""
    try:
        yield
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise click.ClickException(f"measured files below {folder} cannot be read: {error}") from error
