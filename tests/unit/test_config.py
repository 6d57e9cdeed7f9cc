import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from edge.config import Config, ConfigError, Metrics, Results, RouteConfig, SeriesTimes, Server, Source, load, parse

ROOT = Path(__file__).parents[2]
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
        ("source.address", "tcp://*:31001", "name host and port"),
        ("source.memory_mib", 0, "memory_mib"),
        ("source.name", "two words", "name"),
        ("source.colour", "red", "colour"),
        ("route.model", "nothing", "ptycho"),
        ("route.sources", ["pilatus"], "pilatus"),
        ("route.pixel_bits", [12], "pixel_bits"),
        ("route.pixel_bits", [], "pixel_bits"),
        ("route.requests_in_flight", 0, "requests_in_flight"),
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


TABLES = {
    "[[source]]": Source,
    "[[route]]": RouteConfig,
    "[server]": Server,
    "[results]": Results,
    "[metrics]": Metrics,
    "[series]": SeriesTimes,
}


def documented() -> dict[str, dict[str, str]]:
    """Settings and defaults of the reference, by table."""
    text = (ROOT / "edge" / "README.md").read_text()
    reference = text.partition("## Configuration reference")[2].partition("\n## ")[0]
    tables: dict[str, dict[str, str]] = {}
    for line in reference.splitlines():
        if match := re.fullmatch(r"### `(\[+\w+\]+)`.*", line):
            rows = tables.setdefault(match[1], {})
        elif match := re.fullmatch(r"\| `(\w+)` \| (.*?) \| .+ \|", line):
            rows[match[1]] = match[2].strip("`")
    return tables


def test_every_setting_is_documented_with_its_default():
    tables = documented()
    assert set(tables) == set(TABLES)
    for table, struct in TABLES.items():
        fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
        assert set(tables[table]) == set(fields), table
        for name, field in fields.items():
            said = tables[table][name]
            if field.required:
                assert said == "required", f"{table} {name}"
            else:
                default = list(field.default) if isinstance(field.default, tuple) else field.default
                assert tomllib.loads(f"x = {said}")["x"] == default, f"{table} {name}"


def test_the_struct_of_every_table_is_checked_here():
    assert {field.name for field in msgspec.structs.fields(Config)} == {table.strip("[]") for table in TABLES}


def test_examples_in_the_documentation_are_valid():
    snippets = []
    for readme in (ROOT / "README.md", ROOT / "edge" / "README.md", ROOT / "deploy" / "README.md"):
        snippets += re.findall(r"```toml\n(.*?)```", readme.read_text(), re.DOTALL)
    assert snippets
    for snippet in snippets:
        parse(tomllib.loads(snippet))
