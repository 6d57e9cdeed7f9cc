"""Finds the one line of Triton's log that says why. Pure."""

import re
from collections.abc import Iterable

PREFIX = re.compile(r"^[EWIF]\d{4} [\d:.]+ \d+ [\w./]+:\d+\] ?")
"""`E1122 09:10:11.123456 4711 model_lifecycle.cc:642] `: level and date, time, thread, source."""

PORT_TAKEN = re.compile(r"already in use|Address in use|failed to bind|No address added", re.IGNORECASE)
TELLING = re.compile(r"error|fail|unable|cannot|invalid|no space|not found|no such|undefined symbol", re.IGNORECASE)


def telling_line(lines: Iterable[str]) -> str:
    """The last error or fatal line; failing that the last line that sounds like one, or the last at all.

    The loader's own complaints (`error while loading shared libraries`) carry no prefix, hence the second rule.
    """
    errors, sounding, last = [], "", ""
    for line in lines:
        text = PREFIX.sub("", line.strip()).strip('" ')
        if not text:
            continue
        last = text
        if line[:1] in "EF" and PREFIX.match(line):
            errors.append(text)
        elif TELLING.search(text):
            sounding = text
    return errors[-1] if errors else sounding or last or "its log is empty"


def port_taken(text: str) -> bool:
    """Whether the server gave up because somebody else has one of its ports."""
    return PORT_TAKEN.search(text) is not None
