"""Which frames go where: the routes' selection rules."""

import msgspec

from streams.messages import Frame


class Route(msgspec.Struct, frozen=True):
    """A rule that sends frames to a model. An empty tuple means: any."""

    name: str
    model: str
    sources: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()

    def wants(self, frame: Frame) -> bool:
        """Whether this route takes `frame`."""
        return (not self.sources or frame.source in self.sources) and (
            not self.channels or frame.channel in self.channels
        )
