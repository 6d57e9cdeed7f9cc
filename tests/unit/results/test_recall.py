import random

import numpy as np
import pytest

from edge.results.recall import Key, Recall
from tests.unit.results.notices import SHA, ended, result, started, write_log

KEY = Key("det", "u", "peaks", SHA, "image")
IDS = [3, 0, 7, 2**40, 5]


@pytest.fixture
def log(tmp_path):
    return write_log(tmp_path / "1.log", started(), *(result(at, position={"x": at / 2}) for at in IDS), ended(5))


def test_each_result_is_found_with_its_arrays(log):
    recall = Recall([log])
    for at in IDS:
        notice, arrays = recall.find(KEY, at)
        assert (notice.image_id, notice.position) == (at, {"x": at / 2})
        np.testing.assert_array_equal(arrays["a0"], np.array([at % 1000, -1.5], np.float32))
    recall.close()


@pytest.mark.parametrize(
    "key",
    [
        KEY._replace(source="other"),
        KEY._replace(series_uid="v"),
        KEY._replace(route="denoise"),
        KEY._replace(model_sha256="cd" * 32),
        KEY._replace(channel="threshold_2"),
    ],
)
def test_nothing_of_another_series_route_channel_or_other_weights_is_found(log, key):
    recall = Recall([log])
    assert recall.find(key, 3) is None
    assert recall.find(KEY, 4) is None
    assert recall.find(KEY, -1) is None
    recall.close()


def test_what_is_forgotten_is_not_found(log):
    recall = Recall([log])
    recall.forget("det", "v", "peaks")
    assert recall.find(KEY, 3)
    recall.forget("det", "u", "peaks")
    assert recall.find(KEY, 3) is None
    recall.close()


def test_the_first_of_two_results_counts_as_in_the_file(tmp_path):
    path = write_log(tmp_path / "1.log", result(3, series_id=1), result(3, series_id=2))
    recall = Recall([path])
    assert recall.find(KEY, 3)[0].series_id == 1
    recall.close()


def test_a_log_that_is_none_or_gone_costs_only_itself(tmp_path, log, caplog):
    bad = tmp_path / "2.log"
    bad.write_bytes(b"something else entirely")
    recall = Recall([bad, tmp_path / "3.log", log])
    assert recall.find(KEY, 3)
    assert sum("not read again" in record.message for record in caplog.records) == 2
    recall.close()


def test_bytes_that_the_disk_changed_meanwhile_are_no_result(log):
    recall = Recall([log])
    content = bytearray(log.read_bytes())
    dice = random.Random(0)
    for at in dice.sample(range(len(content) // 3, len(content)), 200):
        content[at] ^= 0x55
    with log.open("r+b") as file:
        file.write(content)
    assert all(recall.find(KEY, at) is None for at in IDS[2:])
    with log.open("r+b") as file:
        file.truncate(20)
    assert all(recall.find(KEY, at) is None for at in IDS)
    recall.close()


def test_a_torn_end_is_left_out(tmp_path, log):
    torn = tmp_path / "torn.log"
    torn.write_bytes(log.read_bytes()[:-400])
    recall = Recall([torn])
    assert recall.find(KEY, 3)
    assert recall.find(KEY, 5) is None
    recall.close()
