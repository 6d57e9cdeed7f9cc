"""Names that came from outside, as files inside a folder that was chosen here: anything else is refused."""

import os
from pathlib import Path

MAX_PART_BYTES = 255
"""Of one name in a path: NAME_MAX of Linux (limits.h)."""

MAX_NAME_BYTES = 2048
"""Of all that is put behind a folder; PATH_MAX, 4096, has room for that folder and for suffixes of ours."""


class Escape(ValueError):
    """A name does not stay inside its folder, or is no name; the text says which and why."""


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, where that is inside `folder`; neither has to be there.

    A link on the way may lead elsewhere inside the folder, not out of it. That is looked up now: somebody who may
    write into the folder can still change it afterwards.

    Args:
        folder: chosen by us or by whoever configures us; may be a link itself.
        name: relative, in parts separated by `/`. May come from anybody.

    Raises:
        Escape: it is absolute, empty or too long, has a part `.` or `..`, a control character, or what no file system
            could store; or a link leads out of the folder.
    """
    if fault := _fault(name):
        raise Escape(f"{_shown(name)} {fault}")
    real = Path(os.path.realpath(folder))
    if not Path(os.path.realpath(real / name)).is_relative_to(real):
        raise Escape(f"{_shown(name)} leads out of {folder} by a link")
    return folder / name


def _fault(name: str) -> str:
    try:
        sizes = [len(os.fsencode(part)) for part in name.split("/")]
    except UnicodeEncodeError:
        return "holds characters that no file name can have"
    if name.startswith("/"):
        return "is an absolute path; only names inside the folder are taken"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "holds control characters"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has an empty part, `.` or `..`, and would lead elsewhere"
    if max(sizes) > MAX_PART_BYTES or sum(sizes) + len(sizes) - 1 > MAX_NAME_BYTES:
        return f"is too long; a part may have {MAX_PART_BYTES} bytes, all of it {MAX_NAME_BYTES}"
    return ""


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
