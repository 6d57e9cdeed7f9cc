"""Checks of the machine: what serving needs, what was found, what to do about it."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from edge.inference import shm_names
from edge.inference.backend_env import OLDEST_GLIBC, PYTHONS, BackendEnv, probe
from edge.inference.errors import ServerError
from edge.inference.options import ServerOptions
from edge.inference.repository import GRAPH_FILE, SHIPPED
from edge.inference.shm_names import SHM_FOLDER

SHM_NEEDED = 512 << 20
"""A source's frames (`memory_mib`, 256) and as much for outputs and the server; Docker's default of 64 MiB is less."""

DISK_NEEDED = 512 << 20
GPU_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
GPU_S = 10.0
PROC = Path("/proc")


@dataclass(frozen=True)
class Check:
    """One finding. `remedy` is empty where `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str


@dataclass(frozen=True)
class Machine:
    """Where to look; other folders in tests."""

    shm: Path = SHM_FOLDER
    proc: Path = PROC
    source: Path = SHIPPED


def checks(options: ServerOptions | None = None, machine: Machine | None = None) -> list[Check]:
    """All checks, for a server with `options`. Raises nothing: what cannot be found out is a failed check."""
    options = options or ServerOptions()
    machine = machine or Machine()
    return [
        *_server_checks(options.python),
        _shm_check(machine.shm),
        _cache_check(options.cache_dir),
        _models_check(machine.source),
        _gpu_check(),
        *_leftover_checks(machine),
    ]


def _server_checks(python: Path) -> list[Check]:
    try:
        env = probe(python)
    except ServerError as error:
        return [Check("server python", False, str(error), "set the server's python to one that runs")]
    pytriton = env.pytriton_version if env.pytriton else None
    return [
        _python_check(env),
        _glibc_check(env),
        _libpython_check(env),
        _package_check("nvidia-pytriton", pytriton, "'nvidia-pytriton==0.7.0'"),
        _package_check("onnxruntime", env.onnxruntime, "onnxruntime"),
        _numpy_check(env),
    ]


def _check(name: str, ok: bool, found: str, remedy: str) -> Check:
    return Check(name, ok, found, "" if ok else remedy)


def _python_check(env: BackendEnv) -> Check:
    found = f"{'.'.join(map(str, env.python))} ({env.executable})"
    remedy = "make the server's environment with Python 3.11 or 3.12 and name its python"
    return _check("server python", env.python[:2] in PYTHONS, found, remedy)


def _glibc_check(env: BackendEnv) -> Check:
    remedy = "run the server in a container or on another host and set its url"
    return _check("glibc >= 2.35", env.glibc >= OLDEST_GLIBC, ".".join(map(str, env.glibc)), remedy)


def _libpython_check(env: BackendEnv) -> Check:
    folder = env.libpython()
    version = ".".join(map(str, env.python[:2]))
    remedy = f"apt install libpython{version} (dnf install python{version}-libs)"
    return _check("libpython", folder is not None, str(folder / env.library if folder else "not found"), remedy)


def _numpy_check(env: BackendEnv) -> Check:
    ok = env.numpy is not None and int(env.numpy.partition(".")[0]) < 2
    remedy = f"{env.executable} -m pip install 'numpy<2': with numpy 2 the backend answers with empty tensors"
    return _check("server numpy < 2", ok, env.numpy or "not installed", remedy)


def _package_check(name: str, version: str | None, requirement: str) -> Check:
    return _check(name, version is not None, version or "not installed", f"pip install {requirement}")


def _shm_check(folder: Path) -> Check:
    try:
        space = os.statvfs(folder)
    except OSError as error:
        return Check("shared memory", False, f"{folder}: {error.strerror}", "mount a tmpfs there")
    size, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    found = f"{folder}: {free >> 20} of {size >> 20} MiB free"
    remedy = "enlarge it: mount -o remount,size=2G, docker --shm-size=2g, or a Memory emptyDir in Kubernetes"
    return _check("shared memory", free >= SHM_NEEDED and os.access(folder, os.W_OK), found, remedy)


def _cache_check(cache: Path) -> Check:
    remedy = "set XDG_CACHE_HOME to another disk"
    try:
        there = next(folder for folder in (cache.absolute(), *cache.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
    except OSError as error:  # a folder on the way there that we may not enter
        return Check("cache folder", False, f"{cache}: {error.strerror}", remedy)
    ok = free >= DISK_NEEDED and os.access(there, os.W_OK)
    writable = "" if os.access(there, os.W_OK) else ", not writable"
    return _check("cache folder", ok, f"{cache}: {free >> 20} MiB free{writable}", remedy)


def _models_check(source: Path) -> Check:
    names = sorted({path.parents[1].name for path in source.glob(f"*/*/{GRAPH_FILE}")})
    found = f"{', '.join(names) or 'no model'} in {source}"
    return _check("models", bool(names), found, "reinstall: model_repo belongs beside the package edge")


def _gpu_check() -> Check:
    """For information: without a GPU the models run on the CPU."""
    try:
        done = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return Check("GPU", True, "none: models run on the CPU", "")
    return Check("GPU", True, "; ".join(done.stdout.strip().splitlines()) or "none: models run on the CPU", "")


def _leftover_checks(machine: Machine) -> list[Check]:
    stale = shm_names.stale_prefixes(machine.shm)
    orphans = _orphans(machine)
    return [
        _check("no left-over memory", not stale, ", ".join(stale) or "none", "the next start removes it"),
        _check("no left-over servers", not orphans, ", ".join(map(str, orphans)) or "none", _kill_remedy(orphans)),
    ]


def _kill_remedy(pids: list[int]) -> str:
    return f"kill {' '.join(map(str, pids))}"


def _orphans(machine: Machine) -> list[int]:
    """Servers of ours, by the prefix on their command line, whose owner holds that prefix no more."""
    found = []
    for entry in machine.proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue  # ended meanwhile
        ids = [argument.removeprefix("--id=") for argument in arguments if argument.startswith("--id=edge-")]
        prefix = shm_names.PREFIX.match(ids[0]) if ids else None
        if prefix is not None and not shm_names.is_owned(prefix.group(), machine.shm):
            found.append(int(entry.name))
    return found
