import logging
import sys

import pytest

from edge.logs import FORMAT, OneLine


def line(message: str, *args: object) -> str:
    record = logging.LogRecord("edge", logging.WARNING, "f.py", 1, message, args, None)
    return OneLine(FORMAT, datefmt="%H:%M:%S").format(record)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("series-7", "series-7"),
        ("a\n12:00:00 INFO    all is well", r"a\x0a12:00:00 INFO    all is well"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b2J", r"\x9b2J"),
        ("a\ud800", r"a\ud800"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
        ("Ångström", "Ångström"),
    ],
)
def test_a_name_from_outside_cannot_forge_a_line(name, shown):
    assert line("series %s ends", name).endswith(f"WARNING series {shown} ends")


def test_a_traceback_keeps_its_lines():
    try:
        raise ValueError("bad\x1b[2J")
    except ValueError:
        record = logging.LogRecord("edge", logging.ERROR, "f.py", 1, "unexpected", (), sys.exc_info())
    said = OneLine(FORMAT).format(record).splitlines()
    assert len(said) > 3
    assert said[-1] == r"ValueError: bad\x1b[2J"
