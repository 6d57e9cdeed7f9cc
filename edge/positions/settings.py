"""The table `[source.positions]` of `edge.toml`: where scan positions come from. Explained in edge/README.md."""

from string import Formatter
from typing import Annotated, Literal

import msgspec

from streams.codecs import ANNOUNCED
from streams.positions.headers import MAX_AXES, MAX_NAME_CHARS, AxisOf

FILE_FIELDS = {"series_id": 1, "series_uid": "uid", "source": "detector"}
"""What the name of a file of positions may hold in braces, with an example of each."""


class Positions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the positions of one source come from."""

    from_: Literal["header", "file", "stream"] = msgspec.field(name="from", default="header")
    address: str = ""
    plain: bool = False
    file: str = ""
    axes: dict[str, str | tuple[str, ...]] = {}
    ids: str = ""
    samples_per_frame: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1
    factor: dict[str, float] = {}
    offset: dict[str, float] = {}
    units: dict[str, str] = {}
    wait_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 2.0
    hold_mib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 256

    def axes_of(self) -> list[AxisOf]:
        """The axes with their scales."""
        return [
            AxisOf(
                axis,
                (path,) if isinstance(path, str) else path,
                self.factor.get(axis, 1.0),
                self.offset.get(axis, 0.0),
            )
            for axis, path in self.axes.items()
        ]


NEEDED = {"header": (), "file": ("file", "axes"), "stream": ("address", "axes")}
"""By origin: settings without which it cannot work."""

ONLY = {"address": "stream", "plain": "stream", "samples_per_frame": "stream", "file": "file", "ids": "file"}
"""Settings that mean something for one origin only."""


def check(settings: Positions, protocol: str) -> None:
    """Refuse settings that cannot work with a detector of this protocol.

    Raises:
        ValueError: naming the setting and the remedy.
    """
    origin = settings.from_
    for name in NEEDED[origin]:
        if not getattr(settings, name):
            raise ValueError(f'{name} is empty; from = "{origin}" needs it')
    defaults = Positions()
    for name, only in ONLY.items():
        if origin != only and getattr(settings, name) != getattr(defaults, name):
            raise ValueError(f'{name} means nothing with from = "{origin}"; leave it out, or set from = "{only}"')
    _check_axes(settings)
    if origin == "file":
        _check_pattern(settings.file)
    if origin == "stream" and protocol not in ANNOUNCED:
        raise ValueError(
            f"{protocol} does not say when a series begins, so samples of a stream cannot be given to its images; "
            "let positions travel in the header"
        )


def varying_part(pattern: str) -> str:
    """What stands behind the folder that is the same for each series; empty where all of it is."""
    folder = pattern.partition("{")[0].rpartition("/")[0]
    return pattern[len(folder) :].removeprefix("/") if "{" in pattern else ""


def _check_axes(settings: Positions) -> None:
    if len(settings.axes) > MAX_AXES or any(not 0 < len(axis) <= MAX_NAME_CHARS for axis in settings.axes):
        raise ValueError(f"axes: at most {MAX_AXES} axes with names of 1 to {MAX_NAME_CHARS} letters")
    for axis in settings.axes_of():
        if not axis.path or not all(axis.path):
            raise ValueError(f"axes: {axis.name} has an empty name; write where it is found")
        if settings.from_ != "header" and len(axis.path) > 1:
            raise ValueError(f"axes: {axis.name} is a list of {len(axis.path)} names; write the one name of a dataset")
    for name in ("factor", "offset", "units"):
        unknown = set(getattr(settings, name)) - set(settings.axes)
        if unknown and (name != "units" or settings.axes):
            raise ValueError(f"{name}: there is no axis {sorted(unknown)[0]!r} in axes")


def _check_pattern(pattern: str) -> None:
    try:
        fields = {field for _, field, _, _ in Formatter().parse(pattern) if field is not None}
        if fields <= FILE_FIELDS.keys():
            pattern.format(**FILE_FIELDS)
            if ".." not in varying_part(pattern).split("/"):
                return
            raise ValueError("it holds .. behind a field")
        problem = f"it names {sorted(fields - FILE_FIELDS.keys())[0]!r}"
    except (ValueError, KeyError, IndexError) as error:
        problem = str(error)
    known = ", ".join("{" + field + "}" for field in FILE_FIELDS)
    raise ValueError(f"file: {pattern!r} cannot be used, {problem}; it may name {known}")
