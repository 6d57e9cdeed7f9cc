"""Names: of files, of what is in them, and of the detector's own files. Pure."""

import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime
from string import Formatter

from edge.results.errors import ResultFileError
from streams.codecs.results import Result, SeriesStarted

MAX_NAME_CHARS = 64
RAW_FIELDS = {"series_id": 1, "series_uid": "uid", "source": "detector"}
"""What a pattern of raw files may name, with an example of each."""

RAW_GROUP = "/entry/data"
"""Where the master file of an EIGER links its data files (DECTRIS, "EIGER HDF5 master file")."""


def safe_name(name: str, taken: Collection[str] = ()) -> str:
    """`name` as a part of a path in a file system or in HDF5: letters, digits, `_`, `-` and `.` only, not in `taken`.

    Names come from the wire: what they hold must not lead out of the folder or the group they are meant for.
    """
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:MAX_NAME_CHARS]
    if not safe.strip("."):
        safe = f"_{safe}"
    while safe in taken:
        safe += "_"
    return safe


def series_stem(first: SeriesStarted | Result, model_sha256: str) -> str:
    """The part of a file's name that says which series it is: the same images through the same weights.

    The digest keeps apart what the readable part does not: a detector that counts its series anew after a restart,
    two unique ids that look alike once they are made safe.
    """
    facts = "\0".join((first.source, first.series_uid, first.route, model_sha256))
    digest = hashlib.sha256(facts.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{safe_name(first.source)}-series-{first.series_id}-{safe_name(first.route)}-{digest}"


def stem_of(log: str) -> str:
    """The stem in the name of a log, which may have a number behind it; empty where it is no name of ours."""
    found = re.fullmatch(r"\d{8}T\d{6}Z-(.+-[0-9a-f]{8})(?:-\d{1,3})?\.log", log)
    return found[1] if found else ""


def timestamp(wall_ns: int) -> str:
    """UTC in a form that sorts: `20261122T114501Z`."""
    return datetime.fromtimestamp(wall_ns // 1_000_000_000, UTC).strftime("%Y%m%dT%H%M%SZ")


def check_raw_pattern(pattern: str) -> None:
    """Refuse a pattern that could not be filled in later.

    Raises:
        ResultFileError: it names a field that there is not, or is no pattern at all.
    """
    try:
        fields = [field for _, field, _, _ in Formatter().parse(pattern) if field is not None]
        unknown = [field for field in fields if field not in RAW_FIELDS]
        if not unknown:
            pattern.format(**RAW_FIELDS)
            return
        problem = f"it names {unknown[0]!r}"
    except (ValueError, KeyError, IndexError) as error:
        problem = str(error)
    raise ResultFileError(
        f"results.raw_frames: {pattern!r} cannot be used, {problem}; it may name "
        f"{', '.join('{' + field + '}' for field in RAW_FIELDS)}, as in series_{{series_id}}_master.h5"
    )


def raw_target(pattern: str, first: SeriesStarted | Result) -> str:
    """`FILE::/path` of the raw frames of a series: the pattern with its fields filled in.

    Fields hold no `/`, so the folder is always the one that the pattern names.
    """
    file, _, group = pattern.partition("::")
    filled = file.format(
        series_id=first.series_id, series_uid=safe_name(first.series_uid), source=safe_name(first.source)
    )
    return f"{filled}::{group or RAW_GROUP}"
