from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.http.access import PLAIN, Access, access_for
from edge.http.tokenfile import write_tokens
from edge.http.tokens import new_token
from streams.sockets import SocketError

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder with all that is needed."""
    (tmp_path / "tls.crt").touch()
    (tmp_path / "tls.key").touch()
    write_tokens(tmp_path / "tokens.json", (new_token("a", NOW, timedelta(days=1))[1],))
    return tmp_path


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_nothing_even_where_tokens_exist(host: str, keys: Path):
    assert access_for(host, "metrics.address") == PLAIN
    assert access_for(host, "metrics.address", str(keys)) == PLAIN


BEYOND = ["0.0.0.0", "::", "10.1.2.3", "edge.example", "127.0.0.1.example", "localhost.example", "", "*"]


@pytest.mark.parametrize("host", BEYOND)
def test_other_machines_need_tls_and_a_token(host: str, keys: Path):
    expected = Access(keys / "tls.crt", keys / "tls.key", keys / "tokens.json")
    assert access_for(host, "metrics.address", str(keys)) == expected
    with pytest.raises(SocketError, match=r"metrics.address: .*TLS and tokens; name the folder of keys .* or use 127"):
        access_for(host, "metrics.address")
    assert access_for(host, "--http", plain=True) == PLAIN


def test_a_certificate_of_the_site_is_used(keys: Path):
    certificate, key = keys / "site.crt", keys / "site.key"
    certificate.touch()
    key.touch()
    found = access_for("10.1.2.3", "metrics.address", str(keys), str(certificate), str(key))
    assert (found.tls_certificate, found.tls_key) == (certificate, key)


@pytest.mark.parametrize(
    ("missing", "remedy"),
    [("tls.crt", "edge keys tls"), ("tls.key", "edge keys tls"), ("tokens.json", "edge keys token")],
)
def test_what_is_missing_is_said_with_its_remedy(missing: str, remedy: str, keys: Path):
    (keys / missing).unlink()
    with pytest.raises(SocketError, match=rf"--metrics: .*{missing}.*{remedy}"):
        access_for("10.1.2.3", "--metrics", str(keys))


def test_a_file_without_tokens_lets_nobody_in_and_is_refused(keys: Path):
    write_tokens(keys / "tokens.json", ())
    with pytest.raises(SocketError, match=r"no token in .*tokens.json; make one with: edge keys token NAME"):
        access_for("10.1.2.3", "--metrics", str(keys))
