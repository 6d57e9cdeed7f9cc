"""Folders of keys: made, read, refused, taken back."""

import json
import os
import stat

import pytest
from click.testing import CliRunner

from edge.commands.keys import keys as command
from streams.sockets import KeysError, keymaking, keys_of, read_keys
from streams.sockets.doorkeeper import Doorkeeper
from streams.sockets.keys import allowed


def run(*arguments: object):
    return CliRunner().invoke(command, [str(each) for each in arguments])


@pytest.fixture
def folder(tmp_path):
    keymaking.make_service(tmp_path / "keys")
    return tmp_path / "keys"


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_service_and_its_client(folder, tmp_path):
    keymaking.make_client(folder, "maps", tmp_path / "maps")
    service, client = read_keys(folder), read_keys(tmp_path / "maps")
    assert (service.serves, client.serves) == (True, False)
    assert service.public == service.server == client.server != client.public
    assert allowed(service) == {service.public: "server", client.public: "maps"}


def test_an_umask_does_not_open_them(tmp_path):
    before = os.umask(0)
    try:
        keymaking.make_service(tmp_path / "keys")
        keymaking.make_client(tmp_path / "keys", "maps", tmp_path / "maps")
    finally:
        os.umask(before)
    assert mode(tmp_path / "keys" / "server.key_secret") == mode(tmp_path / "maps" / "client.key_secret") == 0o600
    assert mode(tmp_path / "keys") == mode(tmp_path / "keys" / "clients") == mode(tmp_path / "maps") == 0o700


def test_a_folder_that_was_there_keeps_its_mode(tmp_path):
    (tmp_path / "site").mkdir(mode=0o755)
    keymaking.make_service(tmp_path / "site")
    assert mode(tmp_path / "site") == 0o755


def test_no_folder_no_keys():
    assert keys_of("") is None
    assert keys_of(None) is None


@pytest.mark.parametrize("name", ["server.key_secret", "server.key"])
def test_nothing_is_overwritten(folder, name):
    before = (folder / name).read_bytes()
    for other in {"server.key_secret", "server.key"} - {name}:
        (folder / other).unlink()
    with pytest.raises(KeysError, match="not overwritten"):
        keymaking.make_service(folder)
    assert (folder / name).read_bytes() == before


def test_a_client_is_made_once(folder, tmp_path):
    keymaking.make_client(folder, "maps", tmp_path / "maps")
    with pytest.raises(KeysError, match="edge keys revoke maps"):
        keymaking.make_client(folder, "maps", tmp_path / "other")
    with pytest.raises(KeysError, match="not overwritten"):
        keymaking.make_client(folder, "tomo", tmp_path / "maps")
    assert set(keymaking.clients(folder)) == {"maps"}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", ".hidden", "a b", "a\0", "x" * 65])
def test_names_that_could_lead_elsewhere(folder, tmp_path, name):
    with pytest.raises(KeysError, match="is no name"):
        keymaking.make_client(folder, name, tmp_path / "out")
    with pytest.raises(KeysError, match="is no name"):
        keymaking.revoke(folder, name)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bits", [0o604, 0o640, 0o660, 0o601])
def test_a_secret_that_others_can_get_at(folder, bits):
    (folder / "server.key_secret").chmod(bits)
    with pytest.raises(KeysError, match=r"read by others; `chmod 600"):
        read_keys(folder)


def test_a_secret_of_another_user(folder, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: (folder / "server.key").stat().st_uid + 1)
    with pytest.raises(KeysError, match="belongs to another user"):
        read_keys(folder)


@pytest.mark.parametrize("name", [".", "clients"])
def test_a_folder_into_which_others_may_write(folder, name):
    (folder / name).chmod(0o777)
    with pytest.raises(KeysError, match="let themselves in; `chmod 700"):
        read_keys(folder)


def test_clients_of_another_user(folder, monkeypatch):
    keys = read_keys(folder)
    if os.geteuid() == 0:  # root's folders are taken by everybody
        os.chown(folder / "clients", 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: (folder / "clients").stat().st_uid + 1)
    with pytest.raises(KeysError, match="is another user's, who could let"):
        allowed(keys)


class Asker:
    address = "10.0.0.3"


def test_keys_that_are_gone_for_a_while_let_nobody_in_until_they_are_back(folder, tmp_path):
    assert run("client", "maps", "--folder", folder, "--output", tmp_path / "maps").exit_code == 0
    key = read_keys(tmp_path / "maps").public
    doorkeeper = Doorkeeper(read_keys(folder), Asker())
    assert doorkeeper.callback("edge", key)
    folder.rename(tmp_path / "unmounted")
    assert not doorkeeper.callback("edge", key) and doorkeeper.refused == 1
    (tmp_path / "unmounted").rename(folder)
    assert doorkeeper.callback("edge", key)
    (folder / "clients").rename(tmp_path / "clients")
    assert not doorkeeper.callback("edge", key)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\0", b'curve\n public-key = "short"\n', b"public-key\n", b'public-key = "%s"' % (b"\0" * 40)]
)
def test_a_damaged_certificate(folder, content):
    (folder / "clients" / "maps.key").write_bytes(content)
    with pytest.raises(KeysError, match=r"maps\.key"):
        read_keys(folder)
    (folder / "clients" / "maps.key").unlink()
    keys = read_keys(folder)
    (folder / "clients" / "maps.key").write_bytes(content)
    assert set(allowed(keys).values()) == {"server"}  # while it runs: it lets nobody in, and shuts nobody out


def test_keys_that_do_not_belong_together(folder, tmp_path):
    keymaking.make_service(tmp_path / "other")
    (folder / "server.key").write_bytes((tmp_path / "other" / "server.key").read_bytes())
    with pytest.raises(KeysError, match="different keys"):
        read_keys(folder)


def test_a_secret_of_another_pair(folder, tmp_path):
    keymaking.make_service(tmp_path / "other")
    secret = (tmp_path / "other" / "server.key_secret").read_text().split("secret-key")[1]
    own = (folder / "server.key_secret").read_text().split("secret-key")[0]
    (folder / "server.key_secret").write_text(f"{own}secret-key{secret}")
    with pytest.raises(KeysError, match="not that of the public one"):
        read_keys(folder)


def test_a_folder_without_keys_says_how_to_make_them(tmp_path):
    with pytest.raises(KeysError, match="edge keys new"):
        read_keys(tmp_path / "nowhere")


def test_the_commands_say_which_file_goes_where_and_no_secret(tmp_path):
    folder, output = tmp_path / "keys", tmp_path / "maps"
    said = [
        run("new", "--folder", folder),
        run("client", "maps", "--output", output, "--folder", folder),
        run("list", "--folder", folder),
        run("list", "--folder", folder, "--json"),
        run("revoke", "maps", "--folder", folder),
        run("list", "--folder", folder, "--json"),
    ]
    assert [each.exit_code for each in said] == [0] * 6, said
    secrets = [read_keys(folder).secret.decode(), read_keys(output).secret.decode()]
    text = "\n".join(each.output for each in said)
    assert not any(secret in text for secret in secrets)
    assert str(folder / "server.key_secret") in said[0].output
    assert str(output) in said[1].output
    assert list(json.loads(said[3].output)["clients"]) == ["maps"]
    assert json.loads(said[5].output)["clients"] == {}


@pytest.mark.parametrize(
    "arguments",
    [["new"], ["client", "maps", "--output", "{}/x"], ["revoke", "nobody"], ["client", "a/b", "--output", "x"]],
)
def test_what_cannot_be_done_is_one_line(folder, tmp_path, arguments):
    if arguments[0] == "client":
        keymaking.make_client(folder, "maps", tmp_path / "maps")
    done = run(*(each.format(tmp_path) for each in arguments), "--folder", folder)
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert done.output.count("\n") == 1
