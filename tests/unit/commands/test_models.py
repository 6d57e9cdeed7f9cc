"""`edge models`: what is there, which version serves, and changing that."""

import shutil
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from edge.cli import edge
from edge.inference.own import serving
from edge.inference.repository import model_sha256, version_folder
from edge.models.card import Card, Figure, Measured, Span, Validity, card_bytes

CARD = Card(
    model="identity",
    data=("nothing at all", "and nothing else"),
    split="none",
    training={"seed": 0, "seconds": 12.345678},
    parameters=12_345,
    onnx_minus_torch=1.5e-6,
    valid=Validity((128, 128), Span(1e5, 1e6), Span(8800.0, 8800.0), Span(2e-8, 3e-8), "ab" * 32),
)
FIGURES = (
    Figure("phase_mae_rad", 0.0873, "rad", (0.08, 0.094), "real star [114 frames]", "<= 0.1", True),
    Figure("speed", None, what="no rival was named", bar=">= 10"),
    Figure("bias", 1.25, "%", None, "", "within 1", False),
)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(edge, ["models", *map(str, args)], terminal_width=200, env={"COLUMNS": "200"})


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Versions 2 and 3 of identity."""
    for number in (2, 3):
        shutil.copytree(version_folder("identity"), tmp_path / "own" / "identity" / str(number))
    return tmp_path / "own"


def test_all_versions_are_listed_and_which_serves(own: Path):
    (own / "identity" / "2").rename(own / "identity" / "2.withdrawn")
    (own / "ptychonn" / "1").mkdir(parents=True)
    (own / "ptychonn" / "1" / "model.onnx").write_bytes(b"")
    shown = run("list", "--models", own)
    assert shown.exit_code == 0, shown.output
    rows = [" ".join(line.replace("│", " ").split()) for line in shown.output.splitlines()]
    assert any(row.startswith(f"identity 1 shipped {model_sha256('identity')[:12]}") for row in rows), shown.output
    assert any(row.startswith("2 own, withdrawn") for row in rows)
    assert any(row.startswith("3 own, serves") for row in rows)
    assert any(row.startswith("peaks 1 shipped, serves") for row in rows)
    assert "no model is called ptychonn" in shown.output


def test_without_models_of_ones_own_the_shipped_ones_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shown = run("list")
    assert shown.exit_code == 0 and "shipped, serves" in shown.output and "own" not in shown.output


def test_the_folder_is_that_of_the_configuration(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    source = '[[source]]\nname = "d"\nprotocol = "stream-v2"\naddress = "tcp://127.0.0.1:1"\n'
    route = '[[route]]\nname = "r"\nmodel = "identity"\n'
    (tmp_path / "edge.toml").write_text(f'{source}{route}[server]\nmodels = "{own}"\n')
    assert "own, serves" in run("list").output
    assert "own, serves" in run("list", "-c", "edge.toml").output


def test_versions_are_set_aside_and_brought_back(own: Path):
    shown = run("rollback", "identity", "--models", own)
    assert shown.exit_code == 0 and serving("identity", own).number == 2, shown.output
    assert (
        "identity 3 is set aside" in shown.output and "identity 2, your own, serves from the next start" in shown.output
    )
    assert run("use", "identity", "3", "--models", own).exit_code == 0 and serving("identity", own).number == 3
    shown = run("use", "identity", "1", "--models", own)
    assert "identity 1, the shipped one, serves" in shown.output and not serving("identity", own).own
    run("use", "identity", "2", "--models", own)
    shown = run("use", "identity", "shipped", "--models", own)
    assert "identity 1, the shipped one, serves" in shown.output and not serving("identity", own).own
    assert run("use", "identity", "newest", "--models", own).exit_code == 2
    shown = run("rollback", "identity", "--models", own)
    assert shown.exit_code == 1 and "is shipped and cannot be set aside" in shown.output
    assert "no version 9" in run("use", "identity", "9", "--models", own).output


def test_what_was_trained_is_added(own: Path, tmp_path: Path):
    shown = run("add", "identity", version_folder("identity"), "--models", own)
    assert shown.exit_code == 0 and serving("identity", own).number == 4, shown.output
    shown = run("add", "identity", version_folder("peaks"), "--models", own)
    assert shown.exit_code == 1 and "cannot serve as identity" in shown.output


def test_changes_need_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shown = run("rollback", "identity")
    assert shown.exit_code == 2 and "--models DIR" in shown.output
    assert "there is no folder" in run("list", "--models", tmp_path / "nowhere").output


def test_a_card_in_words(own: Path):
    card = msgspec.structs.replace(CARD, measured=Measured("edge evaluate identity", {"cores": 2}, FIGURES))
    (own / "identity" / "3" / "card.json").write_bytes(card_bytes(card))
    shown = run("card", "identity", "--models", own)
    assert shown.exit_code == 0, shown.output
    text = " ".join(shown.output.replace("│", " ").split())
    for said in (
        *("identity 3", "nothing at all and nothing else", "12,345", "seconds 12.35", "frames of 128 x 128 pixels"),
        *("1e+05 to 1e+06 counts a frame", "photons of 8.8 keV", "a pixel of 20 to 30 nm", "abababababab"),
        *("phase_mae_rad 0.0873 rad 0.08 to 0.094 <= 0.1 kept real star [114 frames]", "speed not run >= 10"),
        *("bias 1.25 % within 1 missed", "edge evaluate identity", "cores 2"),
    ):
        assert said in text, said
    assert run("card", "identity", "--json", "--models", own).output.encode() == card_bytes(card)


def test_a_version_without_a_card_or_with_another_file_says_so(own: Path):
    shown = run("card", "identity", "--version", "2", "--models", own)
    assert shown.exit_code == 1 and "version 2 of identity has no card" in shown.output
    (own / "identity" / "2" / "card.json").write_text('{"model": 3}')
    shown = run("card", "identity", "--version", "2", "--models", own)
    assert shown.exit_code == 1 and "identity/2/card.json: no model card" in shown.output
    assert "no version 7" in run("card", "identity", "--version", "7", "--models", own).output
