"""What may be spoken in plain, and with whom: refused when the configuration is read."""

import pytest

from edge.config import ConfigError, parse

SOURCE = {"name": "eiger", "protocol": "stream-v2", "address": "tcp://127.0.0.1:31001"}
ROUTE = {"name": "peaks", "model": "peaks"}
BOX = {"from": "stream", "axes": {"x": "/X.Value"}}

ELSEWHERE = ["tcp://*:7000", "tcp://0.0.0.0:7000", "tcp://10.0.0.3:7000", "tcp://beamline:7000", "tcp://[::]:7000"]
HERE = ["tcp://127.0.0.1:7000", "tcp://127.8.8.8:7000", "tcp://localhost:7000", "tcp://[::1]:7000"]


def refused(**tables) -> str:
    """What is said; empty where it is taken."""
    try:
        parse({"source": [SOURCE], "route": [ROUTE], **tables})
    except ConfigError as error:
        return str(error)
    return ""


def serving(address):
    """Tables with an address of ours, by the setting."""
    return {
        "results.publish": {"results": {"publish": address}},
        "results.handshake": {"results": {"handshake": address}},
        "agent.listen": {"agent": {"listen": address, "folder": "agent"}},
    }


@pytest.mark.parametrize("setting", serving(""))
@pytest.mark.parametrize("address", ELSEWHERE)
def test_what_others_can_reach_needs_keys(setting, address):
    tables = serving(address)[setting]
    said = refused(**tables)
    assert said.startswith(f'{setting} = "{address}": others than this machine can reach it, unencrypted; ')
    assert "`edge keys new`" in said and "security.keys" in said
    assert not refused(**tables, security={"keys": "keys"})


@pytest.mark.parametrize("address", HERE)
def test_what_stays_on_this_machine_needs_nothing(address):
    for tables in serving(address).values():
        assert not refused(**tables)
    assert not refused(source=[SOURCE | {"address": address}])
    assert not refused(metrics={"address": address.removeprefix("tcp://")})


@pytest.mark.parametrize("address", ELSEWHERE)
def test_a_source_elsewhere_is_encrypted_or_said_to_be_plain(address):
    source = SOURCE | {"address": address, "bind": True}
    said = refused(source=[source])
    assert said.startswith(f'source "eiger": address = "{address}": is beyond this machine, unencrypted; ')
    assert "plain = true" in said and "`edge keys new`" in said
    assert not refused(source=[source | {"plain": True}])
    assert not refused(source=[source], security={"keys": "keys"})


def test_a_position_box_elsewhere_is_said_to_be_plain():
    box = BOX | {"address": "tcp://panda:5555"}
    said = refused(source=[SOURCE | {"positions": box}])
    assert said.startswith('source "eiger": positions.address = "tcp://panda:5555": is beyond this machine')
    assert not refused(source=[SOURCE | {"positions": box | {"plain": True}}])
    assert not refused(source=[SOURCE | {"positions": box}], security={"keys": "keys"})
    assert not refused(source=[SOURCE | {"positions": BOX | {"address": "tcp://127.0.0.1:5555"}}])
    assert "means nothing" in refused(source=[SOURCE | {"positions": {"plain": True}}])


@pytest.mark.parametrize("address", ["0.0.0.0:9100", "[::]:9100", "beamline:9100", "10.0.0.3:9100"])
def test_metrics_elsewhere_need_keys_certificate_and_tokens(address):
    said = refused(metrics={"address": address})
    assert "`edge keys tls`" in said and "`edge keys token`" in said
    assert not refused(metrics={"address": address}, security={"keys": "keys"})


def test_a_certificate_has_its_key():
    halves = {"tls_certificate": "a.crt", "tls_key": "a.key"}
    for name, other in zip(halves, reversed(halves), strict=True):
        assert refused(security={name: halves[name]}).startswith(f"security.{other}: is empty")
    assert not refused(security=halves)
