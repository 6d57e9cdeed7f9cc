"""The doctor finds what is wrong and says what to do; it never raises."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from edge import doctor
from edge.commands.doctor import doctor as command
from edge.doctor import Check, Machine, checks
from edge.inference import shm_names
from edge.inference.errors import ServerError
from edge.inference.options import ServerOptions


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Check]:
    """Checks of a machine with a dead owner's memory, a left-over server and no usable python."""

    def no_python(python: Path) -> None:
        raise ServerError(f"{python} cannot be asked")

    monkeypatch.setattr(doctor, "probe", no_python)
    machine = Machine(shm=tmp_path / "shm", proc=tmp_path / "proc", source=tmp_path / "models")
    for folder in (machine.shm, machine.source, machine.proc / "7", machine.proc / "8", machine.proc / "self"):
        folder.mkdir(parents=True)
    (machine.shm / "edge-3-aaaaaaaa.lock").write_text("")
    alive = shm_names.claim(machine.shm)
    (machine.proc / "7" / "cmdline").write_text("tritonserver\0--id=edge-3-aaaaaaaa-t1\0")
    (machine.proc / "8" / "cmdline").write_text(f"tritonserver\0--id={alive.prefix}-t1\0")
    options = ServerOptions(python=Path("/no/python"), cache_dir=tmp_path / "not" / "yet")
    try:
        return {check.name: check for check in checks(options, machine)}
    finally:
        alive.release()


def test_failures_have_remedies(found: dict[str, Check]) -> None:
    assert not found["server python"].ok and "cannot be asked" in found["server python"].found
    assert not found["models"].ok and found["models"].remedy
    assert found["no left-over memory"].found == "edge-3-aaaaaaaa" and not found["no left-over memory"].ok
    assert found["no left-over servers"].remedy == "kill 7"
    assert all(bool(check.remedy) != check.ok for check in found.values())


def test_space_and_gpu_are_reported(found: dict[str, Check]) -> None:
    assert "MiB free" in found["shared memory"].found and "MiB free" in found["cache folder"].found
    assert found["GPU"].ok


CONFIG = """
[[source]]
name = "detector"
protocol = "stream-v2"
address = "tcp://127.0.0.1:1"
[[route]]
name = "all"
model = "identity"
[server]
python = "/no/such/python3"
"""


def test_configuration_names_the_environment_to_check(tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(CONFIG)
    done = CliRunner().invoke(command, ["--json", "-c", str(path)])
    assert done.exit_code == 1 and "server.python: /no/such/python3 does not exist" in done.output
    done = CliRunner().invoke(command, ["-c", str(tmp_path / "none.toml")])
    assert done.exit_code == 1 and done.output.startswith("Error: cannot read")


@pytest.mark.parametrize(("mib", "ok"), [(511, False), (512, True)])
def test_shared_memory_has_room_for_frames_and_server(
    mib: int, ok: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = SimpleNamespace(f_blocks=mib, f_bavail=mib, f_frsize=1 << 20)
    monkeypatch.setattr(os, "statvfs", lambda _: space)
    check = doctor._shm_check(tmp_path)
    assert check.ok == ok and ("docker --shm-size" in check.remedy) != ok and ("mount -o" in check.remedy) != ok


def test_cache_folder_that_may_not_be_entered_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", refuse)
    check = doctor._cache_check(tmp_path / "closed")
    assert not check.ok and "Permission denied" in check.found and "XDG_CACHE_HOME" in check.remedy
