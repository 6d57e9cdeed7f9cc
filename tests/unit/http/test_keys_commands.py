import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.commands.keys_tls import tls
from edge.commands.keys_token import token
from edge.http.tokenfile import read_tokens
from edge.http.tokens import refusal


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "new" / "keys"


def run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(token, [*arguments, "--folder", str(folder)])


def test_a_token_is_printed_once_and_only_its_hash_is_kept(folder: Path):
    made = run(folder, "prometheus", "--days", "2")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert "valid until" in made.stderr and secret not in made.stderr
    assert secret not in (folder / "tokens.json").read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    now = datetime.now(UTC)
    for after, reason in ((timedelta(days=1), None), (timedelta(days=3), "expired_token")):
        assert refusal(read_tokens(folder / "tokens.json"), f"Bearer {secret}", now + after) == reason
    assert secret not in run(folder, "--list").output


def test_tokens_are_listed_and_revoked(folder: Path):
    first = json.loads(run(folder, "first", "--json").stdout)
    assert set(first) == {"name", "token", "expires"}
    run(folder, "second", "--days", "100")
    listed = json.loads(run(folder, "--list", "--json").stdout)["tokens"]
    assert [(row["name"], row["expired"]) for row in listed] == [("first", False), ("second", False)]
    assert "first: valid until" in run(folder, "--list").output
    assert run(folder, "--revoke", "first").exit_code == 0
    assert [each.name for each in read_tokens(folder / "tokens.json")] == ["second"]
    again = run(folder, "--revoke", "first")
    assert again.exit_code == 1 and "no token 'first'; there are: second" in again.output


def test_what_is_wrong_is_said_in_a_line(folder: Path):
    assert "makes the first token" in run(folder, "--list").output
    run(folder, "a")
    for arguments, code, words in (
        (["a"], 1, "choose another name, or --revoke a first"),
        ([], 2, "give a NAME"),
        (["b", "--list"], 2, "give a NAME"),
        (["b/c"], 2, "is no name"),
        (["b", "--days", "0"], 2, "--days"),
    ):
        result = run(folder, *arguments)
        assert result.exit_code == code and words in result.output, result.output
    assert [each.name for each in read_tokens(folder / "tokens.json")] == ["a"]


def certificate(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(tls, [*arguments, "--folder", str(folder)])


def test_a_certificate_is_made_once_and_its_key_is_private(folder: Path):
    made = certificate(folder, "--host", "edge.example", "--host", "10.1.2.3", "--json")
    assert made.exit_code == 0, made.output
    assert set(json.loads(made.output)) == {"certificate", "key", "sha256", "expires"}
    assert stat.S_IMODE((folder / "tls.key").stat().st_mode) == 0o600
    before = (folder / "tls.crt").read_bytes()
    again = certificate(folder, "--host", "edge.example")
    assert again.exit_code == 1 and "tls.crt is there already; --force" in again.output
    assert certificate(folder, "--host", "edge.example", "--force").exit_code == 0
    assert (folder / "tls.crt").read_bytes() != before


@pytest.mark.parametrize("host", ["", "a b", "-a", "a..b", "a" * 64, "http://a", "a:443", "ä.example"])
def test_what_is_no_host_gets_no_certificate(host: str, folder: Path):
    result = certificate(folder, "--host", host)
    assert result.exit_code == 1 and "neither the name of a machine nor an IP address" in result.output
    assert not folder.exists()
