"""The Python environment that the server lives in: found by asking it, judged here.

It may be another environment than ours: the `nvidia-pytriton` wheel, which holds the server, needs numpy < 2,
and the environments of beamline users have numpy 2.
"""

import contextlib
import filecmp
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edge.inference.errors import ServerError

OLDEST_GLIBC = (2, 35)
"""The wheel is manylinux_2_35: RHEL 8 and 9 and Debian 11 cannot run it."""

PYTHONS = ((3, 11), (3, 12))
"""Versions that numpy < 2 has wheels for and that the wheel has a backend stub for."""

PROBE_S = 60.0

PROBE = """
import importlib.metadata, importlib.util, json, os, sys, sysconfig
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
spec = importlib.util.find_spec("pytriton")
print(json.dumps({
    "executable": sys.executable, "prefix": sys.prefix, "base_prefix": sys.base_prefix,
    "python": sys.version_info[:3], "libdir": sysconfig.get_config_var("LIBDIR"),
    "multiarch": sysconfig.get_config_var("MULTIARCH"), "glibc": os.confstr("CS_GNU_LIBC_VERSION"),
    "pytriton": spec.origin if spec else None, "pytriton_version": version("nvidia-pytriton"),
    "numpy": version("numpy"), "onnxruntime": version("onnxruntime") or version("onnxruntime-gpu"),
}))
"""


@dataclass(frozen=True)
class BackendEnv:
    """What a Python interpreter said about itself. Paths and versions are None where there is none."""

    executable: Path
    prefix: Path
    base_prefix: Path
    python: tuple[int, int, int]
    libdir: Path | None
    multiarch: str | None
    glibc: tuple[int, int]
    pytriton: Path | None
    pytriton_version: str | None
    numpy: str | None
    onnxruntime: str | None

    @property
    def library(self) -> str:
        """File name of the libpython that the backend's stub is linked against."""
        return f"libpython{self.python[0]}.{self.python[1]}.so.1.0"

    def libpython(self) -> Path | None:
        """Folder that holds `library`, or None."""
        arch = self.multiarch or "x86_64-linux-gnu"
        folders = [self.libdir, self.base_prefix / "lib", self.prefix / "lib"]
        folders += [Path("/usr/lib") / arch, Path("/lib") / arch, Path("/usr/lib64"), Path("/usr/local/lib")]
        return next((folder for folder in folders if folder and (folder / self.library).is_file()), None)


def probe(python: Path) -> BackendEnv:
    """Ask the interpreter `python`. Raises ServerError where it cannot be run or is not the one Triton would find.

    Triton's Python backend takes the environment of the first `python3` on PATH, so that is the one asked.
    """
    python3 = _python3_beside(python)
    env = {**clean_environment(), "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            [python3, "-c", PROBE], env=env, capture_output=True, text=True, timeout=PROBE_S, check=True
        )
        told = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ServerError(f"{python3} cannot be asked about its packages: {_last_line(error)}") from error
    return BackendEnv(
        executable=python3,
        prefix=Path(told["prefix"]),
        base_prefix=Path(told["base_prefix"]),
        python=(told["python"][0], told["python"][1], told["python"][2]),
        libdir=Path(told["libdir"]) if told["libdir"] else None,
        multiarch=told["multiarch"],
        glibc=_glibc(told["glibc"]),
        pytriton=Path(told["pytriton"]).parent if told["pytriton"] else None,
        pytriton_version=told["pytriton_version"],
        numpy=told["numpy"],
        onnxruntime=told["onnxruntime"],
    )


def problems(env: BackendEnv) -> list[str]:
    """Why `env` cannot run the server, worst first, each with its remedy; empty where it can."""
    found = []
    where = f"in {env.prefix}"
    version = ".".join(map(str, env.python[:2]))
    if env.glibc < OLDEST_GLIBC:
        glibc = ".".join(map(str, env.glibc))
        found.append(f"glibc {glibc} is older than 2.35: run the server in a container or on another host (url)")
    if env.python[:2] not in PYTHONS:
        found.append(f"Python {version} {where}: the server needs 3.11 or 3.12")
    remedy = "pip install 'detector-edge[server]' there, or name an environment that has it (server.python)"
    if env.pytriton is None:
        found.append(f"nvidia-pytriton is not installed {where}: {remedy}")
    elif env.onnxruntime is None:
        found.append(f"onnxruntime is not installed {where}: {remedy}")
    elif env.numpy is None or int(env.numpy.partition(".")[0]) >= 2:
        # With numpy 2 the backend answers with empty or wrong tensors and no error.
        found.append(f"numpy {env.numpy} {where}: the server needs numpy < 2: pip install 'numpy<2' there")
    if env.libpython() is None:
        found.append(f"{env.library} not found: apt install libpython{version} (dnf: python{version}-libs)")
    return found


def server_binary(env: BackendEnv) -> Path:
    """The tritonserver executable of `env`, which must have nvidia-pytriton."""
    assert env.pytriton is not None
    return env.pytriton / "tritonserver" / "bin" / "tritonserver"


def backend_folder(env: BackendEnv, cache: Path) -> Path:
    """One folder with the Python backend and the stub of this Python version, copied once into `cache`.

    Triton looks for both in the same place and the wheel keeps them apart. The copy is never written again:
    copying over a stub that runs fails with "Text file busy". One that is damaged is moved away and made anew.
    """
    assert env.pytriton is not None
    triton = env.pytriton / "tritonserver"
    version = f"{env.python[0]}.{env.python[1]}"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        raise ServerError(f"nvidia-pytriton {env.pytriton_version} has no backend for Python {version}")
    identity = hashlib.sha256(f"{stub} {stub.stat().st_mtime_ns} {stub.stat().st_size}".encode()).hexdigest()[:12]
    final = cache / "backends" / f"pytriton-{env.pytriton_version}-py{version}-{identity}"
    backend = triton / "backends" / "python"
    if not _is_copy(final, backend, stub):
        try:
            _copy_backend(backend, stub, final)
        except OSError as error:
            raise ServerError(f"{final} cannot be written: {error.strerror}: choose another cache folder") from error
    return final


def clean_environment() -> dict[str, str]:
    """Our environment without what would lead another interpreter to our packages."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PYTHONWARNINGS")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _copy_backend(backend: Path, stub: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".new-") as new:
        made = Path(new) / "backends"
        shutil.copytree(backend, made / "python", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(stub, made / "python")
        if final.is_dir() and not _is_copy(final, backend, stub):
            with contextlib.suppress(FileNotFoundError):  # another process is at it too
                final.rename(Path(new) / "damaged")
        try:
            made.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was faster, with the same content
                raise


def _is_copy(final: Path, backend: Path, stub: Path) -> bool:
    originals = [path for path in backend.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    pairs = [(path, final / "python" / path.relative_to(backend)) for path in originals]
    pairs.append((stub, final / "python" / stub.name))
    try:
        return all(filecmp.cmp(original, copy, shallow=False) for original, copy in pairs)
    except OSError:
        return False


def _python3_beside(python: Path) -> Path:
    python3 = python.absolute().parent / "python3"
    try:
        python.stat()
        same = python3.samefile(python)
    except FileNotFoundError as error:
        raise ServerError(f"server.python: {error.filename} does not exist: name an interpreter that does") from error
    except OSError as error:
        raise ServerError(f"server.python: {python} cannot be used: {error.strerror}") from error
    if not same:
        raise ServerError(f"{python3} is not {python}: name an interpreter of a virtual environment")
    return python3


def _glibc(text: str | None) -> tuple[int, int]:
    major, _, minor = (text or "glibc 0.0").split()[-1].partition(".")
    return int(major), int(minor)


def _last_line(error: Exception) -> str:
    for text in (getattr(error, "stderr", None), str(error)):
        lines = (text or "").strip().splitlines()
        if lines:
            return lines[-1]
    return type(error).__name__
