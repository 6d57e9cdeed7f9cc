"""Where settings stand in a text: against texts that are made with a different number for each line."""

import tomllib

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from edge.config.lines import lines

TEXT = """\
# [[source]] in a comment
[[source]]   # the first
name = "eiger"
options = { a = 1, b = [ 10,
  20 ], "c d".e = 'x' }

[source.positions]
from = "file"
axes.x = "a"
axes.'y z' = "b"

[[source]]
name = \"\"\"
[[source]]
two = 2 \\\"\"\" \"\"\"\"\"
address = '''
] } '''
text = "a # \\" ] ["
when = 1979-05-27 07:32:00 # a date
conditioning.mask = "m"
[[route]]
sources = [
  "a", # one
  # none
  'b]',
]

[ results . "folder x" ]
deep = [[1, 2], [
3]]
tables = [{ a = 1 },
{ a = 2, b = 3 }]
"""


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (("source", 0), 2),
        (("source", 0, "name"), 3),
        (("source", 0, "options"), 4),
        (("source", 0, "options", "b", 0), 4),
        (("source", 0, "options", "b", 1), 5),
        (("source", 0, "options", "c d", "e"), 5),
        (("source", 0, "positions"), 7),
        (("source", 0, "positions", "from"), 8),
        (("source", 0, "positions", "axes"), 9),
        (("source", 0, "positions", "axes", "y z"), 10),
        (("source", 1), 12),
        (("source", 1, "name"), 13),
        (("source", 1, "address"), 16),
        (("source", 1, "text"), 18),
        (("source", 1, "when"), 19),
        (("source", 1, "conditioning", "mask"), 20),
        (("route", 0), 21),
        (("route", 0, "sources", 0), 23),
        (("route", 0, "sources", 1), 25),
        (("results", "folder x"), 28),
        (("results", "folder x", "deep", 1, 0), 30),
        (("results", "folder x", "tables", 0, "a"), 31),
        (("results", "folder x", "tables", 1, "a"), 32),
        (("results", "folder x", "tables", 1, "b"), 32),
    ],
)
def test_settings_of_every_form_are_found(steps, line):
    tomllib.loads(TEXT)
    assert lines(TEXT)[steps] == line


def leaves(value, steps=()):
    """Way and value of every number in a document."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*steps, key))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from leaves(one, (*steps, at))
    elif type(value) is int:
        yield steps, value


KEYS = st.sampled_from(["a", "b-2", '"c d"', "'e.f'", "1"])
ODD = st.sampled_from(['"x # ]"', "'}'", '"""\n[[t]]\n"""', "'''\n]\n'''", '"\\""', "true", "1e-3", '""""q""""'])
BREAK = st.sampled_from(["", "\n", " # ] }\n"])


@st.composite
def values(draw, depth=0):
    """A value; each number is a placeholder `@` that becomes the number of its line."""
    kind = draw(st.integers(0, 2 if depth > 2 else 4))
    if kind <= 1:
        return "@"
    if kind == 2:
        return draw(ODD)
    inner = draw(st.lists(values(depth + 1), max_size=3))
    if kind == 3:
        return "[" + "".join(f"{draw(BREAK)}{one}{draw(BREAK)}," for one in inner) + draw(BREAK) + "]"
    keys = draw(st.lists(KEYS, min_size=len(inner), max_size=len(inner), unique=True))
    return "{" + ", ".join(f"{key} = {one}" for key, one in zip(keys, inner, strict=True)) + "}"


@st.composite
def texts(draw):
    text = ""
    for name in draw(st.lists(st.sampled_from(["t", "t.u", '"v w"']), max_size=5)):
        several = name == "t"
        if name == "t.u" and "[[t]]" not in text:
            continue
        text += f"{draw(BREAK)}\n{'[[' if several else '['}{name}{']]' if several else ']'}{draw(BREAK)}\n"
        for key in draw(st.lists(KEYS, max_size=3, unique=True)):
            text += f"{key} = {draw(values())}{draw(BREAK)}\n"
    return text


def numbered(text):
    """Each `@` becomes the number of the line that it stands in."""
    return "\n".join(line.replace("@", str(at)) for at, line in enumerate(text.split("\n"), 1))


@given(texts())
def test_each_number_is_found_in_its_line(text):
    text = numbered(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # a table twice
        reject()
    found = lines(text)
    for steps, value in leaves(document):
        assert found[steps] == value


@given(st.text(alphabet="[]{}\"'=.,#\n a1\\", max_size=60))
def test_no_text_holds_it_up(text):
    assert all(1 <= line <= text.count("\n") + 1 for line in lines(text).values())
