import hmac
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.http.tokenfile import MAX_BYTES, TokenFile, read_tokens, write_tokens
from edge.http.tokens import MAX_TOKENS, Token, TokenError, added, new_token, refusal, revoked

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)

SECRET, TOKEN = new_token("prometheus", NOW, 30 * DAY)
OTHER = new_token("other", NOW, 30 * DAY)[1]


@pytest.mark.parametrize(
    ("header", "at", "reason"),
    [
        (f"Bearer {SECRET}", NOW, None),
        (f"bearer  {SECRET} ", NOW, None),  # the scheme is not case-sensitive (RFC 9110, section 11.1)
        (f"Bearer {SECRET}", NOW + 30 * DAY - timedelta(seconds=1), None),
        (f"Bearer {SECRET}", NOW + 30 * DAY, "expired_token"),
        (f"Bearer {SECRET}", NOW + 3000 * DAY, "expired_token"),
        (None, NOW, "no_token"),
        ("", NOW, "wrong_token"),
        ("Bearer", NOW, "wrong_token"),
        ("Bearer ", NOW, "wrong_token"),
        (f"Bearer {SECRET[:-1]}", NOW, "wrong_token"),
        (f"Bearer {SECRET}x", NOW, "wrong_token"),
        (f"Bearer {TOKEN.sha256}", NOW, "wrong_token"),  # who has read the file has no token
        (f"Basic {SECRET}", NOW, "wrong_token"),
        (SECRET, NOW, "wrong_token"),
        ("Bearer \u00ff\u0100", NOW, "wrong_token"),
    ],
    ids=map(str, range(15)),  # not the token: it is another one in each process
)
def test_who_is_let_in(header: str | None, at: datetime, reason: str | None):
    assert refusal((OTHER, TOKEN), header, at) == reason
    assert refusal((TOKEN, OTHER), header, at) == reason


def test_without_tokens_nobody_is_let_in():
    assert refusal((), f"Bearer {SECRET}", NOW) == "wrong_token"


def test_every_token_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch):
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(one) or compare(one, other))
    assert refusal((TOKEN, OTHER), f"Bearer {SECRET}", NOW) is None
    assert compared == [TOKEN.sha256, OTHER.sha256]


@given(st.text(max_size=100))
def test_what_was_not_given_out_is_wrong(header: str):
    assert refusal((TOKEN, OTHER), header, NOW) == "wrong_token"


def test_tokens_are_long_and_differ():
    secrets = {new_token("x", NOW, DAY)[0] for _ in range(100)}
    assert len(secrets) == 100 and all(len(secret) >= 43 for secret in secrets)


def test_names_are_unique_and_revoking_takes_one_away():
    both = added((TOKEN,), OTHER)
    assert both == (TOKEN, OTHER)
    with pytest.raises(TokenError, match=r"'other'.*--revoke other"):
        added(both, OTHER)
    assert revoked(both, "prometheus") == (OTHER,)
    with pytest.raises(TokenError, match="no token 'nobody'; there are: prometheus, other"):
        revoked(both, "nobody")


def test_there_may_be_so_many():
    many = tuple(Token(str(at), "0" * 64, NOW, NOW) for at in range(MAX_TOKENS))
    with pytest.raises(TokenError, match="revoke some"):
        added(many, TOKEN)


def test_a_file_holds_what_was_written_and_no_secret(tmp_path: Path):
    path = tmp_path / "tokens.json"
    write_tokens(path, (TOKEN, OTHER))
    assert read_tokens(path) == (TOKEN, OTHER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in path.read_text()
    assert set(json.loads(path.read_text())[0]) == {"name", "sha256", "created", "expires"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["tokens.json"]


def test_a_file_of_the_most_tokens_can_be_read(tmp_path: Path):
    many = [Token(f"{at:0>64}", "0" * 64, NOW, NOW) for at in range(MAX_TOKENS)]
    write_tokens(tmp_path / "tokens.json", many)
    assert len(read_tokens(tmp_path / "tokens.json")) == MAX_TOKENS


ROW = {"name": "a", "sha256": "0" * 64, "created": "2026-01-01T00:00:00Z", "expires": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b"[" * 100_000,
        json.dumps([{**ROW, "sha256": "0"}]).encode(),
        json.dumps([{**ROW, "expires": "2026-01-01T00:00:00"}]).encode(),  # of which time zone?
        json.dumps([{**ROW, "name": "a\nb"}]).encode(),
        json.dumps([{**ROW, "more": 1}]).encode(),
        b" " * (MAX_BYTES + 1),
    ],
    ids=range(10),
)
def test_a_file_that_is_none_is_refused_in_words(content: bytes, tmp_path: Path):
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    with pytest.raises(TokenError, match=r"tokens.json is no list of tokens .*make the tokens anew"):
        read_tokens(path)
    with pytest.raises(TokenError, match="`edge keys token NAME` makes the first"):
        read_tokens(tmp_path / "none")


def test_changes_count_from_the_next_request_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = tmp_path / "tokens.json"
    write_tokens(path, (TOKEN,))
    file = TokenFile(path)
    assert file.current() == (TOKEN,)
    write_tokens(path, (TOKEN, OTHER))
    assert file.current() == (TOKEN, OTHER)
    path.write_bytes(b"broken")
    assert file.current() == file.current() == ()
    assert caplog.text.count("nobody gets in") == 1
    os.unlink(path)
    assert file.current() == ()
    write_tokens(path, (OTHER,))
    assert file.current() == (OTHER,)


def test_a_file_that_others_may_write_lets_nobody_in_until_they_may_not(tmp_path: Path):
    path = tmp_path / "tokens.json"
    write_tokens(path, (TOKEN,))
    path.chmod(0o666)
    file = TokenFile(path)
    assert file.current() == ()
    with pytest.raises(TokenError, match="could let themselves in; `chmod 600"):
        read_tokens(path)
    path.chmod(0o600)
    assert file.current() == (TOKEN,)
