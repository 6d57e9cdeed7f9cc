"""A detector without sockets and without waiting: its clock jumps far ahead with every look at it."""

import itertools

import numpy as np

from edge.simulate.beamline import beamline
from edge.simulate.scene import Scene
from edge.simulate.series import Surroundings
from streams.codecs import DECODERS

SHAPE = (24, 36)


class Receiver:
    """A socket that takes everything, or refuses where told to."""

    def __init__(self, refuses=False):
        self.refuses = refuses
        self.messages = []

    def send(self, parts, timeout_ms=0):
        if self.refuses:
            return False
        self.messages.append([bytes(part) for part in parts])
        return True

    def decoded(self, protocol="stream-v2"):
        decoder = DECODERS[protocol]("detector")
        return [message for parts in self.messages for message in decoder.decode(parts, 1)]


def noisy(x, y, exposure_s, beam, rng):
    return rng.poisson(1000.0 * beam, SHAPE).astype(np.uint16)


def jumping(seconds=100.0):
    """A clock by which everything is always due."""
    return itertools.count(0.0, seconds).__next__


def surroundings(socket=None, render=noisy, **changes):
    clock = changes.pop("clock", None) or jumping()
    scene = Scene(SHAPE, "uint16", render)
    return Surroundings(socket or Receiver(), scene, beamline(0, 0.0), seed=0, clock=clock, **changes)
