"""The units in deploy/systemd: systemd reads them, they are confined, and their command lines are ours."""

import os
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from datetime import date
from pathlib import Path

import click
import pytest

from edge import config as configuration
from edge.assembly import LINGER_MS
from edge.cli import edge
from edge.results.builder import KILLED_S
from edge.results.files import BUILD_PATIENCE_S, WRITE_PATIENCE_S
from edge.supervision.services import ENTRIES, Wanted, arguments, services

UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
MAX_EXPOSURE = 2.0
"""Of 10, by `systemd-analyze security`; a service without a word about it has 9.6."""
PROGRAM = "/opt/detector-edge/bin/edge"

CONFIG = {
    "source": [{"name": "eiger", "protocol": "stream-v2", "address": "tcp://127.0.0.1:31001"}],
    "route": [{"name": "ptycho", "model": "ptycho"}],
}


@pytest.fixture
def analyze() -> str:
    """The program; skips where it is missing, which in continuous integration is a failure."""
    if found := shutil.which("systemd-analyze"):
        return found
    message = "systemd-analyze is not installed; apt install systemd"
    pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def settings(unit: str) -> dict[str, list[str]]:
    """Values of a unit file by name."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text().replace("\\\n", " ").splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value.strip())
    return found


def parse(arguments: list[str]) -> None:
    """Go down the commands as the command line does, without running the last one. Raises click.UsageError."""
    command: click.Command = edge
    context = click.Context(edge, info_name="edge")
    while isinstance(command, click.Group):
        name, found, rest = command.resolve_command(context, arguments)
        assert found is not None and name is not None
        command, arguments = found, rest
        if not isinstance(command, click.Group):
            command.make_context(name, list(arguments), parent=context)


def test_the_units_are_those_of_the_services() -> None:
    own = {f"edge-{entry.name}.service" for entry in ENTRIES}
    assert set(SERVICES) == own | {"edge-up.service", "edge-tee.service"}


@pytest.mark.parametrize("unit", [*SERVICES, "edge.target"])
def test_systemd_reads_them(unit: str, analyze: str, tmp_path: Path) -> None:
    for path in [*UNITS.glob("*.service"), UNITS / "edge.target"]:
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, timeout=60
    )
    told = [line for line in done.stderr.splitlines() if "edge" in line]
    assert done.returncode == 0 and not told, done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_they_may_do_little(unit: str, analyze: str) -> None:
    done = subprocess.run(
        [
            analyze,
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={MAX_EXPOSURE * 10:.0f}",
            str(UNITS / unit),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    level = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level is not None and float(level[1]) <= MAX_EXPOSURE, done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", SERVICES)
def test_their_command_lines_are_ours(unit: str) -> None:
    for line in settings(unit)["ExecStart"]:
        program, *given = shlex.split(line)
        assert program == PROGRAM
        parse(given)


@pytest.mark.parametrize("unit", [name for name in SERVICES if name != "edge-tee.service"])
def test_they_agree_with_edge_up(unit: str) -> None:
    found = settings(unit)
    assert found["Type"] == ["notify"] and found["Restart"] == ["always"]
    assert found["RestartPreventExitStatus"] == [f"2 {os.EX_CONFIG}"]
    entry = next((entry for entry in ENTRIES if unit == f"edge-{entry.name}.service"), None)
    if entry is not None:
        service = next(each for each in services(wanted(agent={"listen": "tcp://127.0.0.1:5700", "folder": "/agent"}))
                       if each.name == entry.name)  # fmt: skip
        assert found["TimeoutStartSec"] == [f"{service.start_s:g}"] and found["WatchdogSec"] == [
            f"{service.watchdog_s:g}"
        ]
        assert float(found["TimeoutStopSec"][0]) >= service.patience_s


def test_the_data_plane_is_given_the_time_that_it_takes_to_keep_everything() -> None:
    (serve,) = (each for each in services(wanted(series={"drain_s": 7.0})) if each.name == "serve")
    keeping_s = max(WRITE_PATIENCE_S, BUILD_PATIENCE_S) + KILLED_S + 2 * LINGER_MS / 1000
    assert serve.patience_s >= 7.0 + keeping_s


def wanted(proposal: str = "", **tables: object) -> Wanted:
    config = configuration.parse({**CONFIG, **tables})
    return Wanted(config, Path("/etc/edge.toml"), Path("/run/edge"), date(2026, 11, 22), proposal)


@pytest.mark.parametrize(
    ("tables", "names"),
    [
        ({}, ["triton", "serve"]),
        ({"server": {"url": "127.0.0.1:8001"}}, ["serve"]),
        ({"agent": {"listen": "tcp://127.0.0.1:5700", "folder": "/agent"}}, ["triton", "serve", "agent"]),
    ],
)
def test_which_services_a_configuration_needs(tables: dict[str, object], names: list[str]) -> None:
    found = services(wanted(**tables))
    assert [service.name for service in found] == names
    assert [service.needs for service in found if service.name == "serve"] == [("triton",) if "triton" in names else ()]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
@pytest.mark.parametrize("url", ["", "127.0.0.1:8001"])
def test_edge_up_uses_command_lines_that_exist(entry: object, url: str) -> None:
    asked = wanted("mx-2345", server={"url": url}, recording={"folder": "/data"})
    given = arguments(entry, asked)  # pyright: ignore[reportArgumentType]
    parse(list(given))
    if given[0] == "serve":
        assert ("--triton-file" in given) == (not url) and "--recover" in given and "mx-2345" in given


def test_models_of_ones_own_are_decided_once_for_all() -> None:
    """A version that is deployed while they run must not reach one of them at its next start alone."""
    every = {entry.name: arguments(entry, replace(wanted(), models=Path("/cache/models/ab"))) for entry in ENTRIES}
    assert {name for name, line in every.items() if "--models" in line} == {"triton", "serve"}
    assert not any("--models" in arguments(entry, wanted()) for entry in ENTRIES)
