"""The file that says where the server is: whole or not there, for its own user only."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.inference import announcement
from edge.inference.announcement import Announcement

FOUND = Announcement("127.0.0.1:4711", "secret", 12, "edge-1-00000000-t1", 3, 1.5)


def test_what_is_written_is_read_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "triton.json"
    announcement.write(path, FOUND)
    assert announcement.read(path) == FOUND
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    announcement.write(path, Announcement("127.0.0.1:1", "other", 13, "x", 4, 2.5))
    assert [each.name for each in path.parent.iterdir()] == ["triton.json"]
    announcement.withdraw(path)
    announcement.withdraw(path)
    assert announcement.read(path) is None


def test_the_token_is_not_in_what_may_be_logged() -> None:
    assert "secret" not in repr(FOUND) and "secret" not in f"{FOUND}"


@given(content=st.binary(max_size=6000))
def test_what_is_no_announcement_is_none(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.json"
    path.write_bytes(content)
    assert announcement.read(path) is None


def test_a_folder_in_its_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "triton.json" / "x").mkdir(parents=True)
    with pytest.raises(OSError):
        announcement.write(tmp_path / "triton.json", FOUND)
    assert [each.name for each in tmp_path.iterdir()] == ["triton.json"]


def test_another_users_server_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "triton.json"
    announcement.write(path, FOUND)
    status = os.stat_result((0o100644, 0, 0, 1, os.geteuid() + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    with pytest.raises(PermissionError, match="another user's"):
        announcement.read(path)
