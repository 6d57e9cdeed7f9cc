"""What is installed by hash is what pyproject.toml asks for."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"base": (), "server": ("server", "bench"), "test": ("server", "bench", "test")}
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def pins(name: str) -> dict[str, list[Version]]:
    """Versions by package; some have one for each version of Python."""
    found: dict[str, list[Version]] = {}
    for package, version in PIN.findall((ROOT / "deploy" / "locks" / f"{name}.txt").read_text()):
        found.setdefault(canonicalize_name(package), []).append(Version(version))
    return found


def wanted(name: str) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in EXTRAS[name] for text in extras[extra])]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("name", sorted(EXTRAS))
def test_every_dependency_is_locked_in_a_version_that_it_allows(name):
    locked = pins(name)
    for requirement in wanted(name):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not in {name}.txt: `make locks`"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: `make locks`"


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "locks").glob("*.txt")), ids=lambda path: path.name)
def test_every_package_has_hashes_and_none_names_a_host(path):
    text = path.read_text()
    entries = re.split(r"\n(?=[A-Za-z])", text)
    assert len(entries) > 10
    for entry in entries:
        assert "--hash=sha256:" in entry, entry.partition("\n")[0]
    assert "://" not in text


def test_triton_has_numpy_1_and_the_base_install_numpy_2():
    assert all(version < Version("2") for version in pins("server")["numpy"])
    assert all(version >= Version("2") for version in pins("base")["numpy"])


def test_the_version_of_torch_is_that_of_the_extra():
    (torch,) = (Requirement(text) for text in PROJECT["optional-dependencies"]["train"] if text.startswith("torch"))
    assert str(torch) in (ROOT / "deploy" / "locks" / "train.in").read_text().splitlines()
