"""Which frames go where: the routes' selection rules."""

import msgspec

from streams.messages import Frame


class Route(msgspec.Struct, frozen=True):
    """A rule that sends frames to a model. An empty tuple means: any."""

    name: str
    model: str
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def takes(self, source: str) -> bool:
        """Whether frames of `source` may go this way: else the route has nothing to do with its series."""
        return not self.sources or source in self.sources

    def wants(self, frame: Frame) -> bool:
        """Whether this route takes `frame`."""
        return self.takes(frame.source) and (not self.channels or frame.channel in self.channels)
