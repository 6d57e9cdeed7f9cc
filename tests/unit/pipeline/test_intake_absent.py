"""Pulses without an image, from the wire to the account."""

import pytest

from streams.codecs import PROTOCOLS
from streams.simulation.faults import Fault, Faults
from tests.unit.pipeline.test_intake import SECOND, Bench, series


@pytest.mark.parametrize("protocol", [name for name, traits in PROTOCOLS.items() if traits.empty])
def test_pulses_without_an_image_are_no_loss(protocol):
    bench = Bench(protocol)
    compression = PROTOCOLS[protocol].compressions[0]
    bench.feed(series(protocol, images=40, compression=compression, faults=Faults(orders=(Fault("empty", 0.5),))))
    bench.intake.advance(10**18, 2 * SECOND, 300 * SECOND)
    images = bench.images()
    ended = bench.intake.pop_finished()[0].ended("r")
    assert (ended.verdict, ended.arrivals["missing"], ended.suspicion) == ("unknown", 0, None)
    assert ended.arrivals["received"] == len(images) < 40
    assert ended.arrivals["absent"] == max(images) - min(images) + 1 - len(images) > 0
    assert ended.absent == {}  # a share tells them
