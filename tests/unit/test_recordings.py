"""The captures of a configuration, opened for a recovery."""

import logging

from edge.config import Config, Recording, RouteConfig, Source
from edge.recovery import recordings
from streams.recording.segments import Facts, Message
from streams.recording.writer import CaptureWriter


def test_what_the_quota_has_removed_of_unfinished_series_is_said(tmp_path, caplog):
    source = Source(name="det", protocol="stream-v2", address="tcp://127.0.0.1:1")
    config = Config(source=(source,), route=(RouteConfig("r", "peaks"),), recording=Recording(str(tmp_path)))
    folder = tmp_path / "det"
    with CaptureWriter(folder, Facts("det", "stream-v2"), 1 << 30) as writer:
        began = writer.place
        writer.append([b"start"], 1)
    with CaptureWriter(folder, Facts("det", "stream-v2"), 1 << 30) as writer:
        writer.append([b"image"], 2)
        writer.mark({"settled": "other", "open": ["this"], "from": began})
    with caplog.at_level(logging.WARNING), recordings(config, recover=True):
        pass
    assert "gone" not in caplog.text
    (folder / "000001.cap").unlink()
    with caplog.at_level(logging.WARNING), recordings(config, recover=True) as (found,):
        assert [bytes(one.parts[0]) for one in found.unfinished if isinstance(one, Message)] == [b"image"]
    assert "1 segments of what was not finished are gone" in caplog.text
