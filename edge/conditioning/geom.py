"""CrystFEL geometry files: where the panels of a detector are, and which of their pixels are bad.

The format is that of crystfel_geometry(5): `parameter = value` for panels first mentioned later in the file,
`panel/parameter = value` for one of them, `badNAME/parameter = value` for a bad region, `;` begins a comment.
What says nothing about positions and bad pixels (energies, peak lists, groups, ...) is passed over. Not applied are
the `flag_` parameters (flags are known by the pixel type) and masks that lie in the images' own file: there is none.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from edge.conditioning.geom_values import (
    MAX_COORDINATE,
    Value,
    read_bits,
    read_coordinate,
    read_index,
    read_length,
    read_number,
    read_truth,
    read_vector,
)
from edge.conditioning.geom_values import GeometryError as GeometryError

MAX_PANELS = 4096
MAX_BAD_REGIONS = 65536
MAX_MASKS = 8


class MaskFile(msgspec.Struct, frozen=True):
    """A mask in a file of its own. A pixel is bad where a good bit is not set, or a bad bit is."""

    file: str
    dataset: str
    good_bits: int
    bad_bits: int


class Panel(msgspec.Struct, frozen=True):
    """A rectangle of pixels with a place. Lengths are in pixels, indices are inclusive."""

    name: str
    module: int  # position in `Geometry.modules`
    min_fs: int
    max_fs: int
    min_ss: int
    max_ss: int
    corner: tuple[float, float]  # (x, y) of the outer corner of the first pixel, from the beam
    fs: tuple[float, float]  # (x, y) that one pixel along the fast axis advances
    ss: tuple[float, float]
    edge: int = 0  # bad pixels along each edge
    ignored: bool = False


class BadRegion(msgspec.Struct, frozen=True):
    """Bad pixels: `bounds` is (least fs, greatest fs, least ss, greatest ss), inclusive, or the same of x and y."""

    name: str
    bounds: tuple[float, float, float, float]
    in_laboratory: bool  # x and y, in pixels from the beam
    panel: str | None  # None: all


class Geometry(msgspec.Struct, frozen=True):
    """What a geometry file says."""

    panels: tuple[Panel, ...]
    modules: tuple[tuple[str, tuple[int, ...]], ...]  # (data location, indices of fixed dimensions): one array each
    bad_regions: tuple[BadRegion, ...]
    masks: tuple[MaskFile, ...]
    resolution: float | None  # pixels per metre
    distance: float | None  # clen in metres, where it is a number


_REQUIRED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "fs", "ss")
_LIMITS = {"fs": ("min_fs", "max_fs", "min_ss", "max_ss"), "x": ("min_x", "max_x", "min_y", "max_y")}
_PASSED_OVER = re.compile(
    r"wavelength|photon_energy(_bandwidth|_scale)?|electron_voltage|beam_energy|bandwidth|adu_per_eV|adu_per_photon|"
    r"max_adu|saturation_map(_file)?|peak_list(_type)?|peak_info_location|flag_(lessthan|morethan|equal)|"
    r"badrow_direction|peak_sep|integr_radius|detector_shift_[xyz]|clen|clen_for_centering|coffset|location|rail_direction|res|data|dim(\d|[1-9]\d)|"
    r"mask(\d_goodbits|\d_badbits|\d_data|\d_file|_good|_bad|_file)?|mask_edge_pixels|no_index|(rigid_)?group_.*"
)
_DIM = re.compile(r"dim(\d|[1-9]\d)")


_Settings = dict[str, Value]


def parse(text: str) -> Geometry:
    """Read a geometry file.

    Raises:
        GeometryError: something in it is wrong or missing.
    """
    defaults: _Settings = {}
    panels: dict[str, _Settings] = {}
    bad: dict[str, _Settings] = {}
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition(";")[0].strip()
        if not content:
            continue
        name, equals, value = (part.strip() for part in content.partition("="))
        if not equals or not name or not value:
            raise GeometryError(f"line {number}: {content[:60]!r} is not 'parameter = value'")
        owner, slash, key = name.rpartition("/")
        _check_known(key, owner, number)
        if not slash:
            defaults[key] = Value(value, number)
        elif owner.startswith("bad"):
            _of(bad, owner, {}, MAX_BAD_REGIONS, number)[key] = Value(value, number)
        else:
            _of(panels, owner, defaults, MAX_PANELS, number)[key] = Value(value, number)
    if not panels:
        raise GeometryError("no panel in it; a panel is described by lines like 'p0/min_fs = 0'")
    return _geometry(defaults, panels, bad)


def _check_known(key: str, owner: str, line: int) -> None:
    positional = key in _REQUIRED
    region = owner.startswith("bad") and (key in (*_LIMITS["x"], "panel") or positional)
    if not (region or positional or _PASSED_OVER.fullmatch(key)):
        raise GeometryError(f"line {line}: no parameter is called {key[:40]!r}; is it misspelt?")


def _of(all_of: dict[str, _Settings], name: str, defaults: _Settings, most: int, line: int) -> _Settings:
    if name not in all_of:
        if len(all_of) >= most:
            raise GeometryError(f"line {line}: more than {most} panels or bad regions")
        all_of[name] = dict(defaults)
    return all_of[name]


def _geometry(defaults: _Settings, panels: dict[str, _Settings], bad: dict[str, _Settings]) -> Geometry:
    resolution = _resolution(panels)
    shift = _shift(defaults, resolution)
    of_panel = {name: _module(settings) for name, settings in panels.items()}
    order = {location: at for at, location in enumerate(dict.fromkeys(location for location, _ in of_panel.values()))}
    modules = sorted(set(of_panel.values()), key=lambda module: (order[module[0]], module[1]))
    position = {module: at for at, module in enumerate(modules)}
    made = (_panel(name, settings, position[of_panel[name]], shift) for name, settings in panels.items())
    return Geometry(
        panels=tuple(made),
        modules=tuple(modules),
        bad_regions=tuple(_bad_region(name, settings, panels) for name, settings in bad.items()),
        masks=_masks(panels),
        resolution=resolution,
        distance=read_length(next(iter(panels.values())).get("clen")),
    )


def _resolution(panels: Mapping[str, _Settings]) -> float | None:
    lines = {settings["res"].text: settings["res"].line for settings in panels.values() if "res" in settings}
    numbers = {read_number(Value(text, line), "res", 1e9) for text, line in lines.items()}
    if len(numbers) > 1 or any(number <= 0 for number in numbers):
        raise GeometryError(
            f"line {max(lines.values())}: res must be one positive number of pixels per metre for all panels: an image "
            "has one pixel size"
        )
    return next(iter(numbers), None)


def _panel(name: str, settings: _Settings, module: int, shift: tuple[float, float]) -> Panel:
    for key in _REQUIRED:
        if key not in settings:
            line = max((value.line for value in settings.values()), default=0)
            raise GeometryError(f"panel {name[:40]!r} (last set in line {line}) has no {key}")
    limits = {key: read_index(settings[key], key) for key in _LIMITS["fs"]}
    for axis in ("fs", "ss"):
        if limits[f"max_{axis}"] < limits[f"min_{axis}"]:
            line = settings[f"max_{axis}"].line
            raise GeometryError(f"line {line}: max_{axis} of panel {name[:40]!r} is less than its min_{axis}")
    corner_x, corner_y = (read_number(settings[key], key, MAX_COORDINATE) for key in ("corner_x", "corner_y"))
    fs, ss = (read_vector(settings[key], key) for key in ("fs", "ss"))
    if abs(fs[0] * ss[1] - fs[1] * ss[0]) < 0.1:
        raise GeometryError(
            f"line {settings['ss'].line}: fs and ss of panel {name[:40]!r} do not span an area seen along the beam"
        )
    return Panel(
        name=name,
        module=module,
        **limits,
        corner=(corner_x + shift[0], corner_y + shift[1]),
        fs=fs,
        ss=ss,
        edge=read_index(settings["mask_edge_pixels"], "mask_edge_pixels") if "mask_edge_pixels" in settings else 0,
        ignored=read_truth(settings.get("no_index")),
    )


def _module(settings: _Settings) -> tuple[str, tuple[int, ...]]:
    """Which array a panel's pixels lie in."""
    dims = sorted((key for key in settings if _DIM.fullmatch(key)), key=lambda key: int(key[3:]))
    fixed = tuple(read_index(settings[key], key) for key in dims if settings[key].text not in ("%", "ss", "fs"))
    location = settings["data"].text if "data" in settings else ""
    return location, fixed


def _bad_region(name: str, settings: _Settings, panels: Mapping[str, _Settings]) -> BadRegion:
    line = max(value.line for value in settings.values())
    kinds = [kind for kind, keys in _LIMITS.items() if any(key in settings for key in keys)]
    if len(kinds) != 1 or any(key not in settings for key in _LIMITS[kinds[0]]):
        raise GeometryError(
            f"line {line}: bad region {name[:40]!r} needs min_fs, max_fs, min_ss and max_ss, or min_x, max_x, min_y "
            "and max_y, all four of one kind"
        )
    panel = settings["panel"].text if "panel" in settings else None
    if panel is not None and panel not in panels:
        line = settings["panel"].line
        raise GeometryError(f"line {line}: bad region {name[:40]!r} is of an unknown panel {panel[:40]!r}")
    read: Callable[[Value, str], float] = read_index if kinds[0] == "fs" else read_coordinate
    first, second, third, fourth = (read(settings[key], key) for key in _LIMITS[kinds[0]])
    if second < first or fourth < third:
        raise GeometryError(f"line {line}: bad region {name[:40]!r} is empty: a maximum is less than its minimum")
    return BadRegion(name, (first, second, third, fourth), kinds[0] == "x", panel)


def _masks(panels: Mapping[str, _Settings]) -> tuple[MaskFile, ...]:
    """Masks in files of their own; `mask`, `mask_file`, `mask_good`, `mask_bad` are the older names of number 0."""
    found: dict[MaskFile, None] = {}
    for settings in panels.values():
        for at in range(MAX_MASKS):
            file, data, good, bad = (
                settings.get(f"mask{at}_{new}") or (settings.get(old) if at == 0 else None)
                for new, old in (
                    ("file", "mask_file"), ("data", "mask"), ("goodbits", "mask_good"), ("badbits", "mask_bad")
                )
            )  # fmt: skip
            if file and data:
                found[MaskFile(file.text, data.text, read_bits(good), read_bits(bad))] = None
    return tuple(found)


def _shift(defaults: _Settings, resolution: float | None) -> tuple[float, float]:
    """`detector_shift_x` and `_y` in pixels; a location in a file says nothing here."""
    x, y = (read_length(defaults.get(f"detector_shift_{axis}")) or 0.0 for axis in "xy")
    if (x or y) and resolution is None:
        raise GeometryError("detector_shift needs res, the pixels per metre")
    pixels = (x * (resolution or 0.0), y * (resolution or 0.0))
    if max(map(abs, pixels)) > MAX_COORDINATE:
        raise GeometryError("detector_shift moves the detector by more than a million pixels")
    return pixels
