"""What is decided before a server starts: environment, command line, restarts, places."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference.backend_env import BackendEnv, backend_folder, clean_environment, probe, problems
from edge.inference.backoff import Backoff
from edge.inference.bring_up import is_loopback, python_shm_bytes
from edge.inference.client import InferenceClient
from edge.inference.errors import ServerError
from edge.inference.events import Served
from edge.inference.launch import LaunchPlan, Ports, command_line, environment
from edge.inference.options import ServerOptions
from edge.inference.server import EmbeddedTriton
from edge.inference.shared_memory import Namespace
from tests.unit.inference.graphs import COUNTS


@pytest.fixture
def env(tmp_path: Path) -> BackendEnv:
    """A sound environment."""
    library = tmp_path / "lib" / "libpython3.11.so.1.0"
    library.parent.mkdir()
    library.write_text("")
    triton = tmp_path / "site" / "pytriton" / "tritonserver"
    for name in ("backends/python/libtriton_python.so", "python_backend_stubs/3.11/triton_python_backend_stub"):
        (triton / name).parent.mkdir(parents=True)
        (triton / name).write_text(name)
    return BackendEnv(
        executable=tmp_path / "bin" / "python3",
        prefix=tmp_path,
        base_prefix=tmp_path,
        python=(3, 11, 7),
        libdir=library.parent,
        multiarch=None,
        glibc=(2, 36),
        pytriton=triton.parent,
        pytriton_version="0.7.0",
        numpy="1.26.4",
        onnxruntime="1.20",
    )


def test_a_sound_environment_has_no_problems(env: BackendEnv) -> None:
    assert problems(env) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"glibc": (2, 34)}, "glibc 2.34 is older than 2.35: run the server in a container"),
        ({"python": (3, 13, 1)}, "needs 3.11 or 3.12"),
        ({"pytriton": None}, r"pip install 'detector-edge\[server\]'"),
        ({"onnxruntime": None}, r"onnxruntime .* pip install 'detector-edge\[server\]'"),
        ({"numpy": "2.1.0"}, "numpy 2.1.0 in .* pip install 'numpy<2'"),
        ({"python": (3, 12, 1)}, "apt install libpython3.12"),
    ],
)
def test_each_problem_names_its_remedy(env: BackendEnv, changes: dict[str, object], says: str) -> None:
    found = problems(replace(env, **changes))  # pyright: ignore[reportArgumentType]
    assert len([text for text in found if re.search(says, text)]) == 1


def test_backend_folder_is_copied_once(env: BackendEnv, tmp_path: Path) -> None:
    folder = backend_folder(env, tmp_path / "cache")
    assert sorted(path.name for path in (folder / "python").iterdir()) == [
        "libtriton_python.so",
        "triton_python_backend_stub",
    ]
    before = (folder / "python" / "triton_python_backend_stub").stat().st_ino
    assert backend_folder(env, tmp_path / "cache") == folder
    assert (folder / "python" / "triton_python_backend_stub").stat().st_ino == before
    (folder / "python" / "triton_python_backend_stub").write_text("damaged")
    assert backend_folder(env, tmp_path / "cache") == folder
    assert (folder / "python" / "triton_python_backend_stub").read_text().startswith("python_backend_stubs")
    assert [path.name for path in (tmp_path / "cache" / "backends").iterdir()] == [folder.name]
    with pytest.raises(ServerError, match=r"no backend for Python 3\.12"):
        backend_folder(replace(env, python=(3, 12, 0)), tmp_path / "cache")


def launch_plan(env: BackendEnv) -> LaunchPlan:
    ports = Ports(grpc=5001, metrics=5003)
    return LaunchPlan(env, Path("/backends"), Path("/repo"), "edge-1-00000000-t1", ports, "secret", 1 << 24)


def test_command_line_is_loopback_explicit_and_one_flag_per_setting(env: BackendEnv) -> None:
    arguments = command_line(launch_plan(env))
    for expected in (
        "--model-control-mode=explicit",
        "--exit-timeout-secs=5",
        "--grpc-address=127.0.0.1",
        "--allow-http=false",
        "--metrics-address=127.0.0.1",
        "--grpc-port=5001",
        "--metrics-port=5003",
        "--grpc-restricted-protocol=model-repository,shared-memory,logging,trace,statistics:edge-token=secret",
        "--backend-config=python,shm-default-byte-size=16777216",
        "--backend-config=python,shm-region-prefix-name=edge-1-00000000-t1.",
    ):
        assert arguments.count(expected) == 1, expected


def test_environment_puts_the_wanted_python_first(env: BackendEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/site")
    made = environment(env)
    assert made["PATH"] == f"{env.executable.parent}:/usr/bin"
    assert made["LD_LIBRARY_PATH"].split(":") == [
        str(env.prefix / "site" / "nvidia_pytriton.libs"),
        str(env.prefix / "lib"),
        "/site",
    ]
    assert made["ORT_DISABLE_TELEMETRY"] == "1"
    assert "PYTHONPATH" not in made and "PYTHONPATH" not in clean_environment()


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_back_off_stays_within_its_bounds(failures: int, chance: float) -> None:
    backoff = Backoff()
    delay = backoff.delay_s(failures, chance)
    assert backoff.first_s * 0.75 <= delay <= backoff.longest_s * 1.25


def test_back_off_doubles_and_starts_anew_after_stable_service() -> None:
    backoff = Backoff(first_s=1, longest_s=8, jitter=0)
    assert [backoff.delay_s(failures, 0.5) for failures in range(1, 6)] == [1, 2, 4, 8, 8]
    assert backoff.failures_after(4, served_s=9) == 5
    assert backoff.failures_after(4, served_s=10) == 1


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("127.0.0.1:8001", True),
        ("127.0.1.1:8001", True),
        ("localhost:8001", True),
        ("[::1]:8001", True),
        ("10.0.0.3:8001", False),
        ("gpu1.example.org:8001", False),
    ],
)
def test_loopback(url: str, here: bool) -> None:
    assert is_loopback(url) == here


def test_backend_memory_holds_two_batches() -> None:
    assert python_shm_bytes((Served(COUNTS, (2,)),)) == 2 * 8 * 1024 * 1024 * 2
    large = replace(COUNTS, frame_shape=(4096, 4096))
    assert python_shm_bytes((Served(large, (4,)),)) == 256 << 20
    small = replace(COUNTS, frame_shape=(64, 64))
    assert python_shm_bytes((Served(small, (1,)),)) == 16 << 20


def test_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ServerOptions().cache_dir == tmp_path / "detector-edge"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert ServerOptions().cache_dir == Path.home() / ".cache" / "detector-edge"


def test_missing_interpreter_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=rf"server\.python: {tmp_path}/x/python3 does not exist"):
        probe(tmp_path / "x" / "python3")


def test_interpreter_that_says_nothing_is_one_clear_line(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho '  ' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ServerError, match=r"cannot be asked about its packages: .*exit status 1") as caught:
        probe(python)
    assert "\n" not in str(caught.value)


def test_start_that_is_given_up_blames_nobody(env: BackendEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Namespace(tmp_path) as namespace:
        triton = EmbeddedTriton(ServerOptions(cache_dir=tmp_path), namespace, lambda _: None)
        triton.abandon()
        monkeypatch.setattr(InferenceClient, "live", lambda *_: False)
        with pytest.raises(ServerError, match=r"^tritonserver was stopped while starting$"):
            triton._wait_until_live(launch_plan(env))
