import re
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from edge.conditioning.settings import ConditioningSettings
from edge.config import (
    Agent,
    Config,
    ConfigError,
    Data,
    Metrics,
    Recording,
    Results,
    RouteConfig,
    Security,
    SeriesTimes,
    Server,
    Source,
    Up,
    load,
    parse,
)
from edge.positions.settings import Positions

ROOT = Path(__file__).parents[3]
GOOD = {
    "source": [{"name": "eiger", "protocol": "stream-v2", "address": "tcp://127.0.0.1:31001"}],
    "route": [{"name": "ptycho", "model": "ptycho"}],
}


def changed(path: str, value) -> dict:
    plain = {"source": [dict(GOOD["source"][0])], "route": [dict(GOOD["route"][0])]}
    table, _, field = path.partition(".")
    if table in ("source", "route"):
        plain[table][0][field] = value
    else:
        plain[table] = {field: value}
    return plain


def test_the_smallest_configuration():
    config = parse(GOOD)
    assert config.source[0].memory_mib == 256
    assert config.results.handshake == "tcp://127.0.0.1:5601"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("source.protocol", "carrier-pigeon", "source"),
        ("source.address", "127.0.0.1:31001", "tcp://HOST:PORT"),
        ("source.address", "tcp://127.0.0.1:70000", "65535"),
        ("source.address", "tcp://127.0.0.1", "port"),
        ("source.address", f"tcp://127.0.0.1:{'1' * 5000}", "port"),
        ("source.address", "tcp://0.0.0.0:5\0;127.0.0.1:1", "NUL"),
        ("source.address", "tcp://0.0.0.0:5\n;127.0.0.1:1", "control characters"),
        ("server.python", "/usr/bin/python\0", "NUL"),
        ("source.address", "tcp://*:31001", "name host and port"),
        ("source.name", "..", "not dots alone"),
        ("source.plain", 1, "true or false"),
        ("results.required_subscribers", ["a b"], "required_subscribers[0]"),
        ("results.required_subscribers", "maps", "a list"),
        ("results.raw_frames", "{run}.h5", "'run'"),
        ("agent.listen", "localhost:1", "agent.listen"),
        ("agent.listen", "tcp://127.0.0.1:5610", "agent.folder: is needed"),
        ("data.proposal", "../etc", "data.proposal"),
        ("data.proposal", ".hidden", "data.proposal"),
        ("security.tls_key", "a.pem", "tls_certificate"),
        ("up.directory", "a", "folder"),
        ("source.memory_mib", 0, "memory_mib"),
        ("source.name", "two words", "name"),
        ("source.colour", "red", "colour"),
        ("route.model", "nothing", "ptycho"),
        ("route.sources", ["pilatus"], "pilatus"),
        ("route.pixel_bits", [12], "pixel_bits"),
        ("route.pixel_bits", [], "pixel_bits"),
        ("route.requests_in_flight", 0, "requests_in_flight"),
        ("route.region", [0, 0, 10], "[row, column, height, width]"),
        ("route.region", [0, 0, 10, 0], "[row, column, height, width]"),
        ("route.region", [-1, 0, 10, 10], "region"),
        ("route.binning", 0, "binning"),
        ("source.conditioning", {"detector": "agipd"}, "agipd"),
        ("source.conditioning", {"detector": "jungfrau"}, "needs pedestal, gain, photon_energy_kev"),
        ("source.conditioning", {"detector": "eiger"}, "eiger"),
        ("source.conditioning", {"gain": "gain.h5"}, "detector"),
        ("source.conditioning", {"orientation": "upside-down"}, "orientation"),
        ("source.conditioning", {"modules": ["0"]}, "geometry"),
        ("results.publish", "ipc:///tmp/x", "results.publish"),
        ("metrics.address", "9100", "metrics.address"),
        ("server.url", "grpc://host", "server.url"),
        ("server.transport", "pigeon", "transport"),
        ("series.idle_s", -1, "idle_s"),
    ],
)
def test_a_wrong_value_is_named(path, value, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse(changed(path, value))


def test_nothing_to_do_is_an_error():
    with pytest.raises(ConfigError, match="source"):
        parse({**GOOD, "source": []})
    with pytest.raises(ConfigError, match="route"):
        parse({**GOOD, "route": []})


def test_two_sources_do_not_share_a_port():
    with pytest.raises(ConfigError, match="every other frame"):
        parse({**GOOD, "source": [*GOOD["source"], {**GOOD["source"][0], "name": "again"}]})


def test_only_a_karabo_bridge_is_asked():
    source = GOOD["source"][0]
    assert parse({**GOOD, "source": [{**source, "protocol": "karabo", "socket": "req"}]})
    with pytest.raises(ConfigError, match="pull or sub"):
        parse({**GOOD, "source": [{**source, "socket": "req"}]})


def test_an_unknown_option_of_a_protocol_names_its_source():
    source = {**GOOD["source"][0], "options": {"verify": True}}
    with pytest.raises(ConfigError, match=source["name"]):
        parse({**GOOD, "source": [source]})


def test_names_are_unique():
    with pytest.raises(ConfigError, match="two"):
        parse({**GOOD, "route": GOOD["route"] * 2})


@pytest.mark.parametrize(("content", "said"), [(b"[[source", "TOML"), (b"\xff\xfe\0", "text"), (None, "cannot read")])
def test_an_unreadable_file_is_named(content, said, tmp_path):
    path = tmp_path / "edge.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        load(path)
    assert "edge.toml" in str(caught.value)


BOX = {"from": "stream", "address": "tcp://panda:5555", "plain": True, "axes": {"x": "/INENC1.VAL.Value"}}


@pytest.mark.parametrize(
    "positions",
    [
        {},
        {"from": "header", "axes": {"x": ["ndattr", "SampleX"], "y": "y"}, "factor": {"x": 1e-3}, "units": {"x": "um"}},
        {"units": {"row": "px"}},
        {"from": "file", "file": "/data/{source}/{series_id:06d}_{series_uid}.h5", "axes": {"x": "x:0"}, "ids": "id"},
        BOX | {"samples_per_frame": 10, "wait_s": 0.5, "offset": {"x": -1}},
    ],
)
def test_positions_from_everywhere(positions):
    source = parse(changed("source.positions", positions)).source[0]
    assert source.positions is not None
    assert {axis.name for axis in source.positions.axes_of()} == set(positions.get("axes", {}))


def test_where_an_axis_is_found_and_its_scale():
    x, y = msgspec.convert({"axes": {"x": "a", "y": ["b", "c"]}, "factor": {"y": 2}}, Positions).axes_of()
    assert (x.path, x.factor, x.offset) == (("a",), 1.0, 0.0)
    assert (y.path, y.factor, y.offset) == (("b", "c"), 2.0, 0.0)


@pytest.mark.parametrize(
    ("positions", "said"),
    [
        ({"from": "telepathy"}, "telepathy"),
        ({"colour": 1}, "colour"),
        ({"from": "stream", "axes": {"x": "x"}}, "address is empty"),
        (BOX | {"axes": {}}, "axes is empty"),
        (BOX | {"address": "panda"}, "tcp://HOST:PORT"),
        (BOX | {"samples_per_frame": 0}, "samples_per_frame"),
        (BOX | {"wait_s": 0}, "wait_s"),
        (BOX | {"hold_mib": 0}, "hold_mib"),
        (BOX | {"axes": {"x": ["a", "b"]}}, "one name"),
        (BOX | {"axes": {"x": ""}}, "x has an empty name"),
        (BOX | {"axes": {"": "x"}}, "names of 1 to 64"),
        (BOX | {"axes": {str(i): "x" for i in range(17)}}, "at most 16"),
        (BOX | {"factor": {"z": 2}}, "no axis 'z'"),
        (BOX | {"units": {"z": "m"}}, "no axis 'z'"),
        (BOX | {"file": "a.npy"}, 'set from = "file"'),
        ({"samples_per_frame": 2}, 'set from = "stream"'),
        ({"from": "file", "axes": {"x": "0"}}, "file is empty"),
        ({"from": "file", "axes": {"x": "0"}, "file": "{run}.npy"}, "'run'"),
        ({"from": "file", "axes": {"x": "0"}, "file": "{series_id:s}.npy"}, "cannot be used"),
        ({"from": "file", "axes": {"x": "0"}, "file": "{"}, "cannot be used"),
        ({"factor": {"x": 2}}, "no axis 'x'"),
    ],
)
def test_positions_that_cannot_work_are_named(positions, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        parse(changed("source.positions", positions))


def test_a_box_needs_a_detector_that_announces_its_series():
    plain = changed("source.positions", BOX)
    plain["source"][0]["protocol"] = "array-1.0"
    with pytest.raises(ConfigError, match="does not say when a series begins"):
        parse(plain)


TABLES = {
    "[[source]]": Source,
    "[source.positions]": Positions,
    "[source.conditioning]": ConditioningSettings,
    "[[route]]": RouteConfig,
    "[server]": Server,
    "[results]": Results,
    "[recording]": Recording,
    "[metrics]": Metrics,
    "[series]": SeriesTimes,
    "[agent]": Agent,
    "[data]": Data,
    "[security]": Security,
    "[up]": Up,
}


def documented() -> dict[str, dict[str, str]]:
    """Settings and defaults of the reference, by table."""
    text = (ROOT / "edge" / "README.md").read_text()
    reference = text.partition("## Configuration reference")[2].partition("\n## ")[0]
    tables: dict[str, dict[str, str]] = {}
    for line in reference.splitlines():
        if match := re.fullmatch(r"### `(\[+[\w.]+\]+)`.*", line):
            rows = tables.setdefault(match[1], {})
        elif match := re.fullmatch(r"\| `(\w+)` \| (.*?) \| .+ \|", line):
            rows[match[1]] = match[2].strip("`")
    return tables


def test_every_setting_is_documented_with_its_default():
    tables = documented()
    assert set(tables) == set(TABLES)
    for table, struct in TABLES.items():
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        fields = {name: field for name, field in fields.items() if f"[{table.strip('[]')}.{name}]" not in TABLES}
        assert set(tables[table]) == set(fields), table
        for name, field in fields.items():
            said = tables[table][name]
            if field.required:
                assert said == "required", f"{table} {name}"
            else:
                made = field.default_factory is not msgspec.NODEFAULT
                default = field.default_factory() if made else field.default
                default = list(default) if isinstance(default, tuple) else default
                assert tomllib.loads(f"x = {said}")["x"] == default, f"{table} {name}"


def tables_in(struct: type, path: str = "") -> set[str]:
    """Names of the tables of a configuration, a nested one behind a dot."""
    found = set()
    for field in msgspec.structs.fields(struct):
        for kind in (field.type, *get_args(field.type)):
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                found |= {path + field.encode_name} | tables_in(kind, f"{path}{field.encode_name}.")
    return found


def test_the_struct_of_every_table_is_checked_here():
    assert tables_in(Config) == {table.strip("[]") for table in TABLES}


def test_examples_in_the_documentation_are_valid():
    snippets = []
    folders = (".", "edge", "edge/conditioning", "edge/positions", "streams", "deploy")
    for readme in (ROOT / folder / "README.md" for folder in folders):
        snippets += re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        parse({"route": GOOD["route"], **tomllib.loads(snippet)})


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ({"address": "tcp://10.0.0.7:31001", "detector_url": "http://10.0.0.7"}, False),
        ({"address": "tcp://10.0.0.7:31001", "detector_url": "http://10.0.0.7", "plain": True}, True),
        ({"address": "tcp://10.0.0.8:31001", "detector_url": "http://10.0.0.7"}, True),  # a tee with keys
        ({"address": "tcp://10.0.0.7:31001"}, True),
    ],
)
def test_with_keys_a_detectors_own_stream_is_plain(source, good):
    plain = {**GOOD, "source": [{**GOOD["source"][0], **source}], "security": {"keys": "keys"}}
    if good:
        parse(plain)
        return
    with pytest.raises(ConfigError, match="plain = true"):
        parse(plain)
