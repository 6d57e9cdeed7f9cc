"""Modules that make one image (`conditioning.geometry`): results are of no module's channel, and none may be lost."""

import pytest

from edge.config import ConfigError, parse
from edge.pipeline.account import RouteAccount
from edge.workers import words
from edge.workers.assembly import assembles
from edge.workers.merged import MergedSource
from edge.workers.parts import LOST
from edge.workers.slots import Place
from streams.messages import SeriesStart
from tests.unit.workers.test_merged import PATIENCE, Fake, Worker, obey

MODULES = ("m0", "m1")
PANEL = """
p{0}/dim0 = %
p{0}/dim1 = {0}
p{0}/dim2 = ss
p{0}/dim3 = fs
p{0}/min_fs = 0
p{0}/max_fs = 9
p{0}/min_ss = 0
p{0}/max_ss = 4
p{0}/fs = +1.0x
p{0}/ss = +1.0y
p{0}/corner_x = 0
p{0}/corner_y = {0}0
"""


def assembled(images: int) -> tuple[MergedSource, Fake, list[Worker]]:
    fake, places = Fake(), {number: Place(number) for number in (1, 2)}
    source = MergedSource("det", ["check"], places, PATIENCE, fake, assembles=True)
    workers = [Worker(source, place, fake) for place in places.values()]
    start = SeriesStart("det", "uid", 1, images, MODULES)
    source.began(workers[0].place, words.pack_start(start), start, 0)
    return source, fake, workers


def take(worker: Worker, image_id: int, *modules: str) -> None:
    """One message with some modules of an image, which is one image to the routes."""
    worker.accounts.setdefault("uid", RouteAccount()).accept()
    for module in modules:
        worker.source.arrived(worker.place, words.Arrived("det", "uid", 1, module, [image_id]), 0)


def test_an_assembled_image_has_its_result():
    _, fake, (one, two) = assembled(3)
    take(one, 0, *MODULES)
    take(two, 1, *MODULES)
    take(two, 2, *MODULES)
    one.infer(0)
    two.infer(1, 2)
    one.end()
    obey((one, two))
    (ended,) = fake.ended
    assert sorted(fake.results) == [0, 1, 2]
    assert (ended.verdict, ended.account["received"], ended.account["published"]) == ("complete", 3, 3)
    assert ended.arrivals["received"] == 6


def test_an_image_that_came_to_both_has_one_result_and_one_that_came_to_none_has_none():
    _, fake, (one, two) = assembled(1)
    take(one, 0, *MODULES)
    take(two, 0, *MODULES)
    two.accounts["uid"].accept()
    two.infer(0, 5)  # nobody told of number 5
    one.infer(0)
    one.end()
    obey((one, two))
    (ended,) = fake.ended
    assert fake.results == [0]
    assert (ended.account["received"], ended.account["published"], ended.arrivals["duplicate"]) == (1, 1, 2)


def test_what_a_worker_had_in_hand_is_counted_in_images():
    source, fake, (one, two) = assembled(3)
    take(one, 0, *MODULES)
    take(two, 1, *MODULES)
    take(two, 2, "m1")  # the other module did not come
    one.infer(0)
    two.die(0)
    one.end()
    one.obey()
    source.shut_down(0)
    (ended,) = fake.ended
    assert (ended.account["received"], ended.account["failed"], ended.verdict) == (3, {LOST: 2}, "incomplete")


@pytest.mark.parametrize(("panels", "several"), [(1, False), (2, True)])
def test_only_several_modules_make_one_image(tmp_path, panels: int, several: bool):
    file = tmp_path / "det.geom"
    file.write_text("res = 10000\n" + "".join(map(PANEL.format, range(panels))))
    assert assembles(source({"geometry": str(file)})) is several


def test_nothing_is_assembled_without_a_geometry():
    assert not assembles(source(None))
    assert not assembles(source({"orientation": "rotate-90"}))


def test_a_geometry_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="source 'det': conditioning: geometry"):
        assembles(source({"geometry": str(tmp_path / "none.geom")}))


def source(conditioning: dict | None):
    written = {"name": "det", "protocol": "stream-v2", "address": "tcp://127.0.0.1:9"}
    written |= {} if conditioning is None else {"conditioning": conditioning}
    return parse({"source": [written], "route": [{"name": "check", "model": "identity"}]}).source[0]
