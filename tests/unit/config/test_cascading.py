"""Routes after other routes: what cannot work is said before anything is started."""

import re
from pathlib import Path

import pytest

from edge.config import Config, ConfigError, load, parse
from edge.models.registry import MODELS
from edge.models.spec import ANY, ModelSpec, TensorSpec, scalars

SOURCES = [
    {"name": name, "protocol": "stream-v2", "address": f"tcp://127.0.0.1:{port}"} for name, port in (("a", 1), ("b", 2))
]
PEAKS = {"name": "peaks", "model": "peaks"}
DENOISE = {"name": "hits", "model": "denoise", "after": "peaks"}


def parsed(*routes: dict) -> Config:
    return parse({"source": SOURCES, "route": list(routes)})


@pytest.mark.parametrize(
    "routes",
    [
        [PEAKS, DENOISE],
        [DENOISE, PEAKS],  # in any order
        [PEAKS, DENOISE | {"when": "count >= 15"}],
        [PEAKS, DENOISE | {"when": "count > 3 and intensity[0] >= 1e4 or probability[127] > 0.5"}],
        [PEAKS, DENOISE, {"name": "third", "model": "identity", "after": "hits"}],
        [PEAKS, DENOISE, {"name": "again", "model": "peaks", "after": "peaks", "when": "count == 0"}],
        [PEAKS | {"region": [0, 0, 8, 8], "binning": 2}, DENOISE | {"region": [0, 0, 8, 8], "binning": 2}],
        [PEAKS | {"sources": ["a", "b"]}, DENOISE | {"sources": ["b"]}],
        [PEAKS | {"channels": ["1"]}, DENOISE, {"name": "third", "model": "peaks", "after": "hits", "channels": ["1"]}],
    ],
)
def test_routes_after_routes(routes):
    assert {route.name: route.after for route in parsed(*routes).route} == {
        route["name"]: route.get("after", "") for route in routes
    }


@pytest.mark.parametrize(
    ("routes", "said"),
    [
        ([PEAKS | {"when": "count > 1"}], 'route "peaks": when = "count > 1": looks at a result, and there is none'),
        ([DENOISE], 'after = "peaks": no other [[route]] is called so; there are no others'),
        ([PEAKS, DENOISE | {"after": "hits"}], 'after = "hits": no other [[route]] is called so; there are peaks'),
        (
            [PEAKS | {"after": "hits"}, DENOISE],
            'route "peaks": after = "hits": goes round in a circle (peaks after hits after peaks); one must come first',
        ),
        ([PEAKS, DENOISE | {"binning": 2}], "binning = 2: is not that of route peaks, whose images it gets"),
        ([PEAKS | {"region": [0, 0, 8, 8]}, DENOISE], "region: is not that of route peaks, whose images it gets"),
        (
            [PEAKS | {"sources": ["a"]}, DENOISE | {"sources": ["a", "b"]}],
            'sources[1] = "b": route peaks, which comes before, takes only a',
        ),
        (
            [
                PEAKS | {"channels": ["1", "2"]},
                DENOISE,
                {"name": "third", "model": "peaks", "after": "hits", "channels": ["3"]},
            ],
            'channels[0] = "3": route hits, which comes before, takes only 1, 2',
        ),
        (
            [PEAKS, DENOISE | {"when": "count => 15"}],
            "when = \"count => 15\": at character 7, '=> 15': expected one of",
        ),
        (
            [PEAKS, DENOISE | {"when": "peaks > 1 and row > 1 and row[384] > 0"}],
            "model peaks does not answer peaks, row, row[384]; a condition may name count, row[0] to row[383]",
        ),
        (
            [PEAKS, DENOISE, {"name": "third", "model": "peaks", "after": "hits", "when": "expected > 1"}],
            "model denoise does not answer expected; its answers are images, not numbers: leave when out",
        ),
        ([PEAKS, DENOISE | {"after": 3}], 'route "hits": after = 3: must be text'),
    ],
)
def test_what_does_not_go_together_is_named(routes, said):
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        parsed(*routes)
    assert len(caught.value.problems) == 1


def test_a_circle_that_others_lead_into_is_said_once():
    ring = [{"name": str(at), "model": "peaks", "after": str((at + 1) % 3)} for at in range(3)]
    with pytest.raises(ConfigError) as caught:
        parsed({"name": "first", "model": "peaks", "after": "0"}, *ring)
    assert [problem.steps for problem in caught.value.problems] == [("route", 1, "after")]


def test_the_line_is_told(tmp_path: Path):
    path = tmp_path / "edge.toml"
    path.write_text(
        '[[source]]\nname = "a"\nprotocol = "stream-v2"\naddress = "tcp://127.0.0.1:1"\n\n[[route]]\nname = "peaks"\n'
        'model = "peaks"\n\n[[route]]\nname = "hits"\nmodel = "denoise"\nafter = "peaks"\nwhen = "peaks >= 15"\n'
    )
    with pytest.raises(ConfigError, match=r'edge\.toml:14: route "hits": when = "peaks >= 15": model peaks does not'):
        load(path)


def test_the_numbers_that_models_answer():
    assert scalars(MODELS["peaks"]) == {
        "count": None,
        **dict.fromkeys(("row", "column", "intensity", "intensity_sigma", "probability"), 384),
    }
    assert scalars(MODELS["identity"]) == {"checksum": 2}
    assert scalars(MODELS["ptycho"]) == {"deviance": None}
    assert scalars(MODELS["denoise"]) == {}
    outputs = (TensorSpec("a", "float32", (), "1"), TensorSpec("b", "float32", (ANY,), "1"))
    assert scalars(ModelSpec("m", (ANY, ANY), outputs, 1)) == {"a": None}
