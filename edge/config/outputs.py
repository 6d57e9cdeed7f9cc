"""The folders that are written into: named after the proposal and the day, inside one folder for all of them."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from string import Formatter

import msgspec

from edge.config.problems import ConfigError, Problem, Steps, as_toml
from edge.config.tables import Config, Data
from edge.confined import Escape, inside

log = logging.getLogger(__name__)

FIELDS = ("proposal", "year", "date")
"""What a folder may name in braces: the proposal, and the year and day (ISO 8601) of the process's start."""

TABLES = ("results", "recording", "agent")
"""The tables with a `folder` that is written into."""


@dataclass(frozen=True)
class _Output:
    steps: Steps
    template: str

    @property
    def fields(self) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(self.template) if name is not None}


def template_problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the folders before anything is filled in; no file system is looked at. Pure."""
    if "{" in config.data.root or "}" in config.data.root:
        yield Problem(("data", "root"), "takes no {...}; write them into the folders below it")
    for output in _outputs(config):
        fault = _template_fault(output.template) or (
            _escape(output.template, config.data.root) if config.data.root else ""
        )
        if fault:
            yield Problem(output.steps, fault)


def with_proposal(config: Config, proposal: str) -> Config:
    """The configuration for another proposal than it names.

    Raises:
        ConfigError: a proposal cannot be called so.
    """
    try:
        data = msgspec.convert({"root": config.data.root, "proposal": proposal}, Data)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"--proposal {as_toml(proposal[:80])}: a proposal is 1 to 64 letters, digits, `_`, `-` or `.`, with a "
            "letter or digit first"
        ) from error
    return msgspec.structs.replace(config, data=data)


def expanded(template: str, proposal: str, today: date) -> str:
    """The template with its fields filled in. Pure.

    >>> expanded("{year}/{proposal}/{date}", "mx-2345", date(2026, 11, 22))
    '2026/mx-2345/2026-11-22'
    """
    return template.format(proposal=proposal, year=f"{today.year:04d}", date=today.isoformat())


def placed(config: Config, today: date) -> Config:
    """The configuration with its output folders filled in and absolute; called once, when a process starts.

    Args:
        today: what `{year}` and `{date}` stand for. A process that is started anew to go on with the work of another
            is given the day of that one, or it would look for it in another folder.

    Raises:
        ConfigError: a proposal is needed and not set, or a folder lies outside `data.root`.
    """
    found: list[Problem] = _root_problems(config.data)
    for output in _outputs(config) if not found else ():
        try:
            folder = _folder(output, config.data, today)
        except Escape as error:
            log.warning("refused: %s.folder = %s: %s", output.steps[0], as_toml(output.template), error)
            found.append(Problem(output.steps, f"{error}; write a folder below data.root", as_toml(output.template)))
        except ConfigError as error:
            found.extend(error.problems)
        else:
            table = msgspec.structs.replace(getattr(config, str(output.steps[0])), folder=str(folder))
            config = msgspec.structs.replace(config, **{str(output.steps[0]): table})
    if found:
        raise ConfigError(problems=found)
    return config


def _folder(output: _Output, data: Data, today: date) -> Path:
    if "proposal" in output.fields and not data.proposal:
        text = "names {proposal}, and there is none; set data.proposal, or start with --proposal NAME"
        raise ConfigError(problems=[Problem(output.steps, text, as_toml(output.template))])
    name = expanded(output.template, data.proposal, today)
    if not data.root:
        return Path(name).absolute()
    root, below = Path(data.root).absolute(), PurePosixPath(name)
    if below.is_absolute() and not below.is_relative_to(root):
        raise Escape(f"{as_toml(name)} is elsewhere")
    return inside(root, str(below.relative_to(root) if below.is_absolute() else below))


def _root_problems(data: Data) -> list[Problem]:
    """A folder that is not there may be a disk that is not mounted: none is made in its place."""
    if not data.root or Path(data.root).is_dir():
        return []
    return [Problem(("data", "root"), "there is no such folder; make it, or mount the disk that it is on")]


def _outputs(config: Config) -> list[_Output]:
    folders = ((table, getattr(config, table).folder) for table in TABLES)
    return [_Output((table, "folder"), folder) for table, folder in folders if folder]


def _template_fault(template: str) -> str:
    known = f"it may name {', '.join(f'{{{name}}}' for name in FIELDS)}"
    try:
        for _, name, form, conversion in Formatter().parse(template):
            if name is not None and (name not in FIELDS or form or conversion):
                return f"names {{{name}}}; {known}"
    except ValueError as error:
        return f"cannot be filled in ({error}); {known}"
    return "" if "\0" not in template else "holds a NUL character; leave it out"


def _escape(template: str, root: str) -> str:
    """Whether a folder leads out of the root by its own name; fields hold no `/` and do not begin with a dot."""
    path = PurePosixPath(template)
    if ".." in path.parts or (path.is_absolute() and not path.is_relative_to(Path(root).absolute())):
        return f"lies outside data.root, which is {as_toml(root)}; write a folder below it"
    return ""
