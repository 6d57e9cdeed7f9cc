"""Regions and prefixes: robust ends, clear errors, and nobody else's entries touched."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from edge.inference import shm_names
from edge.inference.shared_memory import Namespace, Region, SharedMemoryError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_region_is_shared_zeroed_and_unlinked(tmp_path: Path) -> None:
    region = Region("edge-1-00000000-r-a", 5000, tmp_path)
    assert region.view.dtype == np.uint8 and region.view.shape == (5000,) and not region.view.any()
    region.view[4000:4004] = (1, 2, 3, 4)
    assert (tmp_path / region.name).read_bytes()[4000:4004] == b"\x01\x02\x03\x04"
    region.close()
    region.close()
    assert names(tmp_path) == [] and region.view.size == 0


def test_views_outlive_their_region(tmp_path: Path) -> None:
    region = Region("edge-1-00000000-r-a", 4096, tmp_path)
    kept = region.view[16:32].view(np.float32)
    region.close()
    kept[:] = 1.5
    assert kept.sum() == 6.0 and names(tmp_path) == []


def test_a_full_folder_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SharedMemoryError, match=r"MiB free, 3 MiB needed: .*shm-size"):
        Region("edge-1-00000000-r-a", (2 << 20) + 1, tmp_path)
    assert names(tmp_path) == []


def test_other_errors(tmp_path: Path) -> None:
    with pytest.raises(SharedMemoryError, match="0 bytes"):
        Region("a", 0, tmp_path)
    (tmp_path / "a").write_text("")
    with pytest.raises(SharedMemoryError, match="exists"):
        Region("a", 1, tmp_path)
    with pytest.raises(SharedMemoryError, match="cannot be used"):
        Namespace(tmp_path / "absent")


def test_namespace_owns_its_entries_and_removes_them(tmp_path: Path) -> None:
    with Namespace(tmp_path) as namespace:
        region = namespace.region("frames", 64)
        assert names(tmp_path) == [region.name, f"{namespace.prefix}.lock"]
        (tmp_path / f"{namespace.prefix}-t1.left-by-a-server").write_text("")
        assert shm_names.is_owned(namespace.prefix, tmp_path)
    assert names(tmp_path) == []
    namespace.close()
    with pytest.raises(SharedMemoryError, match="closed"):
        namespace.region("late", 1)


def make_entries(folder: Path, *entries: str) -> None:
    for entry in entries:
        (folder / entry).write_text("")


def test_only_entries_of_the_dead_are_swept(tmp_path: Path) -> None:
    make_entries(
        tmp_path,
        *("edge-10-aaaaaaaa.lock", "edge-10-aaaaaaaa-r-frames", "edge-10-aaaaaaaa-t1.x"),  # dead
        *("edge-11-bbbbbbbb-r-frames", "edge-devices.lock", "edge-1-zz.lock", "other-1-aaaaaaaa.lock"),  # not ours
    )
    alive = shm_names.claim(tmp_path)
    make_entries(tmp_path, f"{alive.prefix}-r-frames")
    assert shm_names.stale_prefixes(tmp_path) == ["edge-10-aaaaaaaa"]
    shm_names.sweep_stale(tmp_path)
    kept = ["edge-1-zz.lock", "edge-11-bbbbbbbb-r-frames", "edge-devices.lock", "other-1-aaaaaaaa.lock"]
    assert names(tmp_path) == sorted([*kept, f"{alive.prefix}-r-frames", f"{alive.prefix}.lock"])
    alive.release()
    assert names(tmp_path) == kept


def test_a_prefix_stays_ours_while_a_child_holds_the_lock(tmp_path: Path) -> None:
    claim = shm_names.claim(tmp_path)
    inherited = os.dup(claim.lock_fd)
    os.close(claim.lock_fd)  # the owner died, its guardian still cleans up
    shm_names.sweep_stale(tmp_path)
    assert shm_names.is_owned(claim.prefix, tmp_path) and names(tmp_path) != []
    os.close(inherited)
    shm_names.sweep_stale(tmp_path)
    assert names(tmp_path) == []


def test_unknown_prefixes_have_no_owner(tmp_path: Path) -> None:
    assert not shm_names.is_owned("edge-1-00000000", tmp_path)


def test_what_the_server_makes_is_taken_from_other_users(tmp_path: Path) -> None:
    make_entries(tmp_path, "edge-1-00000000-t1.region", "edge-2-00000000-t1.region")
    for path in tmp_path.iterdir():
        path.chmod(0o666)
    shm_names.keep_private("edge-1-00000000", tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "edge-1-00000000-t1.region": 0o600,
        "edge-2-00000000-t1.region": 0o666,
    }


def test_what_somebody_else_put_there_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_entries(tmp_path, "edge-10-aaaaaaaa.lock", "edge-11-bbbbbbbb.lock", "edge-11-bbbbbbbb-r-0")
    (tmp_path / "edge-12-cccccccc.lock").mkdir()
    (tmp_path / "edge-13-dddddddd.lock").symlink_to(tmp_path / "edge-10-aaaaaaaa.lock")
    stuck = tmp_path / "edge-11-bbbbbbbb-x"
    stuck.mkdir()  # cannot be unlinked, as another user's file in a sticky folder
    shm_names.sweep_stale(tmp_path)
    assert not (tmp_path / "edge-10-aaaaaaaa.lock").exists() and stuck.exists()
    make_entries(tmp_path, "edge-14-eeeeeeee.lock")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    assert shm_names.is_owned("edge-14-eeeeeeee", tmp_path)  # readable for us, and another user's
