"""Reads `edge.toml`: text to checked settings, and each problem with its line."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from edge.config import checks, outputs
from edge.config.lines import lines
from edge.config.problems import ConfigError, Problem, Steps, placed_in
from edge.config.tables import Config
from edge.config.walking import misfits

MAX_BYTES = 1 << 20
"""Largest configuration that is read; one for ten detectors has some ten kB."""


@dataclass(frozen=True)
class Document:
    """A configuration as it was written."""

    plain: Mapping[str, Any]
    places: Mapping[Steps, int] = field(default_factory=dict)  # by setting: its line
    file: str = ""

    def located(self, found: list[Problem]) -> list[Problem]:
        """The problems with their places in this document, in the order of its lines."""
        located = [placed_in(problem, self.plain, self.places, self.file) for problem in found]
        return sorted(located, key=lambda problem: problem.line or 0)

    def error(self, found: list[Problem]) -> ConfigError:
        """The problems, to be raised."""
        return ConfigError(problems=self.located(found))


def load(path: Path) -> Config:
    """Read and check a configuration file. Output folders are as written; `load_placed` fills them in.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    return checked(read(path))


def load_placed(path: Path, today: date, proposal: str = "", record: str = "") -> Config:
    """Read and check a configuration file for a process that writes: its output folders are filled in and absolute.

    Args:
        today: what `{year}` and `{date}` in folders stand for.
        proposal: in place of `data.proposal`; empty: that one.
        record: in place of `recording.folder`; empty: that one.

    Raises:
        ConfigError: it cannot be read, or something in it is wrong.
    """
    document = read(path)
    config = checked(document)
    if record:
        recording = msgspec.structs.replace(config.recording, folder=record)
        config = msgspec.structs.replace(config, recording=recording)
        if found := list(outputs.template_problems(config)):
            raise document.error(found)
    return placed(config, document, today, proposal)


def placed(config: Config, document: Document, today: date, proposal: str = "") -> Config:
    """As `edge.config.outputs.placed`, with problems where they are in the document."""
    if proposal:
        config = outputs.with_proposal(config, proposal)
    try:
        return outputs.placed(config, today)
    except ConfigError as error:
        raise document.error(list(error.problems)) from error


def parse(plain: Mapping[str, Any]) -> Config:
    """Check the plain content of a configuration.

    Raises:
        ConfigError: something in it is wrong.
    """
    return checked(Document(plain))


def checked(document: Document) -> Config:
    """The settings of a document.

    Raises:
        ConfigError: something in it is wrong: all that does not fit, or where all fits all that does not go together.
    """
    found = list(misfits(document.plain, Config))
    if found:
        raise document.error(found)
    config = msgspec.convert(document.plain, Config)
    if found := list(checks.problems(config)):
        raise document.error(found)
    return config


def read(path: Path) -> Document:
    """Read a configuration file, without checking what it holds.

    Raises:
        ConfigError: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name the configuration with -c FILE") from error
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{path}: has more than {MAX_BYTES >> 10} KiB; that is no configuration")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text file: {error}") from error
    try:
        return Document(tomllib.loads(text), lines(text), str(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_not_toml(path, text, str(error))) from error
    except ValueError as error:
        raise ConfigError(f"{path}: a number in it has too many digits") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: tables or lists are nested too deep") from error


def _not_toml(path: Path, text: str, said: str) -> str:
    """tomllib says "... (at line 3, column 5)" or "... (at end of document)"."""
    found = re.search(r" \(at line (\d+), column (\d+)\)$", said)
    line = int(found[1]) if found else text.count("\n") + (not text.endswith("\n"))
    shown = text.splitlines()[line - 1].strip()[:60] if found else "the end of the file"
    remedy = "; text needs quotation marks, true and false are small" if said.startswith("Invalid value") else ""
    return f"{path}:{line}: is not valid TOML at {shown!r}: {said}{remedy}"
