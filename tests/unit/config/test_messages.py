"""What is said of a configuration that is wrong: file, line, setting, value and remedy, for all that is wrong."""

import re
from pathlib import Path

import pytest

from edge.config import ConfigError, load, parse
from edge.config.loading import MAX_BYTES

GOOD = """\
[[source]]
name = "eiger"
protocol = "stream-v2"
address = "tcp://127.0.0.1:31001"
{source}
[[route]]
name = "ptycho"
model = "ptycho"
{route}
{rest}
"""


def said(folder, source="", route="", rest="", text=""):
    """Each line of what is said of a file."""
    path = folder / "edge.toml"
    path.write_text(text or GOOD.format(source=source, route=route, rest=rest))
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert len(caught.value.problems) == len(str(caught.value).splitlines())
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        (
            {"source": "memory_mib = 0"},
            'edge.toml:5: source "eiger": memory_mib = 0: must be a whole number from 1 to 1048576; the default is 256',
        ),
        (
            {"source": "memory_mb = 1"},
            'edge.toml:5: source "eiger": memory_mb = 1: there is no such setting; did you mean memory_mib?',
        ),
        (
            {"source": 'socket = "pul"'},
            'edge.toml:5: source "eiger": socket = "pul": must be one of "pull", "req", "sub"; did you mean "pull"?; '
            'the default is "pull"',
        ),
        (
            {"source": "plain = 1"},
            'edge.toml:5: source "eiger": plain = 1: must be true or false; the default is false',
        ),
        (
            {"source": '[source.positions]\naxes.x = ["a"]\nfactor = { x = nan }'},
            'edge.toml:7: source "eiger": positions.factor.x = nan: must be a number',
        ),
        (
            {"source": '[source.conditioning]\ndetector = "agipd"'},
            'edge.toml:6: source "eiger": conditioning.detector = "agipd": \'agipd\' is not calibrated here; ',
        ),
        (
            {"route": 'sources = ["eiger",\n"pilatus"]'},
            'edge.toml:10: route "ptycho": sources[1] = "pilatus": no [[source]] is called so; there are eiger',
        ),
        ({"rest": "[series]\nidle_s = true"}, "edge.toml:11: series.idle_s = true: must be a number above 0 and of at"),
        (
            {"rest": '[agent]\nlisten = "tcp://127.0.0.1:5610"'},
            "edge.toml:10: agent.folder: is needed where agent.listen is set; ",
        ),
        ({"rest": "[resutls]"}, "edge.toml:10: resutls: there is no such setting; did you mean results?"),
        ({"rest": 'results = "a"'}, 'edge.toml:10: route "ptycho": results = "a": there is no such setting'),
        ({"text": 'results = "a"'}, 'edge.toml:1: results = "a": must be a table; write [results] and its settings'),
        (
            {"text": '[source]\nname = "a"'},
            "edge.toml:1: source: must be a list of tables; write [[source]] above the settings of each",
        ),
        (
            {"rest": '[[route]]\nmodel = "peaks"'},
            "edge.toml:10: route 2: name is missing; edge/README.md lists the settings",
        ),
        (
            {"rest": "[results]\nreplay_mib = 0x" + "f" * 5000},
            f"edge.toml:11: results.replay_mib = 0x{'f' * 55}...: must be a whole number",
        ),
        ({"rest": "[results\n"}, "edge.toml:10: is not valid TOML at '[results': Expected ']'"),
        ({"rest": "[results]\nfolder = data"}, "edge.toml:11: is not valid TOML at 'folder = data': Invalid value (at"),
        ({"rest": 'a = """'}, "edge.toml:10: is not valid TOML at 'the end of the file': "),
        ({"rest": f"a = {'9' * 5000}"}, "edge.toml: a number in it has too many digits"),
        ({"rest": f"a = {'[' * 3000}{']' * 3000}"}, "edge.toml: tables or lists are nested too deep"),
        ({"text": " " * (MAX_BYTES + 1)}, "edge.toml: has more than 1024 KiB; that is no configuration"),
    ],
)
def test_a_problem_says_where_it_is_what_was_found_and_what_to_do(tmp_path, tables, line):
    assert any(one.startswith(line) for one in said(tmp_path, **tables)), said(tmp_path, **tables)


def test_all_problems_of_types_are_told_in_the_order_of_lines(tmp_path):
    found = said(tmp_path, "memory_mib = 0\nbind = 1", "modell = 1", "[series]\ngrace_s = -1\n[results]\nfoldr = ''")
    assert [re.match(r"edge\.toml:(\d+): ", line)[1] for line in found] == ["5", "6", "10", "12", "14"]


def test_all_problems_of_checks_are_told(tmp_path):
    route = 'region = [1, 2]\npixel_bits = []\nsources = ["a"]'
    rest = '[metrics]\naddress = "9100"\n[results]\npublish = "ipc:///x"\n[server]\nurl = "grpc://h"'
    found = said(tmp_path, 'share = "3/2"\ndetector_url = "det"', route, rest)
    for setting in (
        "share",
        "detector_url",
        "region",
        "pixel_bits",
        "sources[0]",
        "metrics.address",
        "results.publish",
    ):
        assert sum(setting in line for line in found) == 1, (setting, found)
    assert len(found) == 8


def test_windows_line_ends_do_not_move_lines(tmp_path):
    path = tmp_path / "edge.toml"
    path.write_bytes(GOOD.format(source="memory_mib = 0", route="", rest="").replace("\n", "\r\n").encode())
    with pytest.raises(ConfigError, match=r"edge\.toml:5: "):
        load(path)


def test_a_long_value_is_cut_short(tmp_path):
    (line,) = said(tmp_path, f'socket = "{"x" * 10_000}"')
    assert len(line) < 250


def test_two_ends_of_ours_do_not_share_a_port(tmp_path):
    (line,) = said(tmp_path, rest='[agent]\nlisten = "tcp://127.0.0.1:5601"\nfolder = "a"')
    assert line.startswith(
        'edge.toml:11: agent.listen = "tcp://127.0.0.1:5601": results.handshake listens there already'
    )
    (line,) = said(tmp_path, "bind = true", rest='[results]\npublish = "tcp://127.0.0.1:31001"')
    assert "results.publish listens there already" in line
    ports = {"publish": "tcp://127.0.0.1:*", "handshake": "tcp://127.0.0.1:*"}
    source = {"name": "a", "protocol": "stream-v2", "address": "tcp://127.0.0.1:*", "bind": True}
    parse({"source": [source], "route": [{"name": "a", "model": "peaks"}], "results": ports})


def test_without_a_file_there_are_no_lines():
    with pytest.raises(ConfigError) as caught:
        parse({"source": [{"name": 3}]})
    assert "[[route]] is missing; at least one is needed" in str(caught.value).splitlines()
    assert "source 1: name = 3: must be 1 to 64 letters" in str(caught.value)
    assert caught.value.problems[0].line is None


def test_the_documentation_shows_what_is_said(tmp_path):
    reference = (
        (Path(__file__).parents[3] / "edge" / "README.md").read_text().partition("## Configuration reference")[2]
    )
    shown = [line for line in reference.splitlines() if line.startswith("edge.toml:")]
    text = (
        '[[source]]\nname = "eiger"\nprotocol = "stream-v2"\naddress = "tcp://10.42.41.10:31001"\nmemory_mib = {}\n\n'
        '[[route]]\nname = "ptycho"\nmodel = "ptycho"\n\n[results]\n{} = "tcp://127.0.0.1:5600"\n'
        'handshake = "tcp://*:5601"\n'
    )
    first, second = (said(tmp_path, text=text.format(*words)) for words in ((0, "publsh"), (1, "publish")))
    cascade = reference.partition("### One route after another")[2].partition("```toml\n")[2].partition("```")[0]
    third = said(tmp_path, text=cascade.replace("count >= 15", "peaks >= 15"))
    assert shown == [*first, *second, *third]
