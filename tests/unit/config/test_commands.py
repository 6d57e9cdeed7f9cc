"""`edge config check` and `edge config show`."""

import json
import tomllib
from datetime import date

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from edge.commands.config import config
from edge.config import load, load_placed, parse
from edge.config.problems import as_toml
from streams.sockets import keymaking

GOOD = """\
[[source]]
name = "eiger"
protocol = "stream-v2"
address = "tcp://127.0.0.1:31001"
options = { }

[source.positions]
axes = { x = ["nd\\u007f \\"a\\"", "b"], "y z" = "é😀" }
factor."y z" = 1e-5

[[route]]
name = "peaks"
model = "peaks"

[results]
folder = "{proposal}/{date}"

[data]
proposal = "p-1"
"""


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_text(GOOD + f'root = "{tmp_path}"\n')
    return file


def run(*arguments, code=0):
    result = CliRunner().invoke(config, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def test_a_good_configuration(path):
    assert run("check", "-c", path).output == f"{path}: good; 1 source, 1 route\n"
    assert json.loads(run("check", "-c", path, "--json").output) == {"file": str(path), "ok": True, "problems": []}


def test_all_problems_are_listed(path):
    path.write_text(path.read_text() + "[series]\ngrace_s = 0\nidle = 1\n")
    lines = run("check", "-c", path, code=1).stderr.splitlines()
    assert [line.partition(" ")[0] for line in lines] == [f"{path}:22:", f"{path}:23:", f"{path}:"]
    document = json.loads(run("check", "-c", path, "--json", code=1).output)
    assert not document["ok"]
    assert document["problems"][0] == {
        "line": 22,
        "setting": "series.grace_s",
        "value": "0",
        "text": "must be a number above 0 and of at most 86400; the default is 2.0",
    }


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ('[security]\nkeys = "KEYS"', "security.keys = "),
        (
            '[security]\ntls_certificate = "a.crt"\ntls_key = "a.key"',
            'security.tls_key = "a.key": cannot be read: No such',
        ),
        ('[server]\npython = "/no/python"', 'server.python = "/no/python": is no program'),
        ('[recording]\nfolder = "edge.toml/a"', "recording.folder = "),
    ],
)
def test_files_that_are_named_are_looked_for(path, tables, said):
    path.write_text(path.read_text() + tables.replace("KEYS", str(path.parent / "keys")))
    assert said in run("check", "-c", path, code=1).stderr


def test_what_https_needs_is_looked_for(path):
    keys = path.parent / "keys"
    keymaking.make_service(keys)
    path.write_text(path.read_text() + f'[security]\nkeys = "{keys}"\n[metrics]\naddress = "10.1.2.3:9100"\n')
    assert "there is no " in (said := run("check", "-c", path, code=1).stderr) and "edge keys tls --folder" in said
    for name in ("tls.crt", "tls.key"):
        (keys / name).touch()
    assert "edge keys token NAME" in run("check", "-c", path, code=1).stderr


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ('[source.conditioning]\nmask = "mask.h5:/m"', 'conditioning.mask = "mask.h5:/m": cannot be read'),
        ('[source.positions]\nfrom = "file"\naxes.x = "0"\nfile = "/no/{series_id}.npy"', "there is no folder /no"),
        ('[source.positions]\nfrom = "file"\naxes.x = "0"\nfile = "/no/a.npy"', "there is no folder /no"),
    ],
)
def test_files_of_a_source_are_looked_for(path, tables, said):
    text = path.read_text()
    begin, end = text.index("[source.positions]"), text.index("[[route]]")
    path.write_text(f"{text[:begin]}{tables}\n{text[end:]}")
    assert said in run("check", "-c", path, code=1).stderr


def test_another_proposal_and_another_day(path):
    shown = run("show", "-c", path, "--proposal", "q", "--date", "2026-01-02").output
    assert f'folder = "{path.parent}/q/2026-01-02"\n' in shown
    assert "a proposal is" in run("check", "-c", path, "--proposal", "../q", code=1).stderr
    assert run("check", "-c", path, "--date", "tomorrow", code=2)


def test_what_is_shown_can_be_used_in_place_of_the_file(path):
    shown = run("show", "-c", path, "--date", "2026-11-22").output
    placed = load_placed(path, date(2026, 11, 22))
    assert parse(tomllib.loads(shown)) == placed
    assert placed.source == load(path).source


def test_defaults_are_marked(path):
    shown = run("show", "-c", path).output.splitlines()
    assert 'name = "eiger"' in shown
    assert "options = {}" in shown
    assert "memory_mib = 256  # default" in shown
    assert "wait_s = 2.0  # default" in shown
    assert 'publish = "tcp://127.0.0.1:5600"  # default' in shown
    assert not any("conditioning" in line for line in shown)


def test_settings_for_programs(path):
    settings = json.loads(run("show", "-c", path, "--json").output)["settings"]
    assert settings["source[0].positions.hold_mib"] == {"value": 256, "default": True}
    assert settings["data.proposal"] == {"value": "p-1", "default": False}


def test_what_cannot_be_used_is_not_shown(path):
    path.write_text("[[source]]\n")
    assert "name is missing" in run("show", "-c", path, code=1).stderr
    assert "cannot read" in run("show", "-c", "/no/edge.toml", code=1).stderr


SIMPLE = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    SIMPLE,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(VALUES)
@example([-(1 << 64), 1 << 64])
def test_a_value_is_written_as_toml_reads_it(value):
    assert tomllib.loads(f"x = {as_toml(value)}")["x"] == value
