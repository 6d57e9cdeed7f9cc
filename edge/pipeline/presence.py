"""Who listens to the results, by name: kept from the subscriptions that the publishing socket tells.

ZeroMQ tells the first subscription to a topic and the end of the last one, by the subscriber's own word or by the end
of its connection (zmq_socket(3), ZMQ_XPUB). So several subscribers of one name are one.
"""

from collections.abc import Sequence

from streams.codecs.handshake import present_name
from streams.messages import Part

MAX_PRESENT = 256
"""Names that are kept; who comes when there are as many is not known to be there."""

SUBSCRIBED = 1


class Presence:
    """The names that are present. Never raises for what a peer sent, and is bounded whatever it sends."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def take(self, message: Sequence[Part]) -> None:
        """One message of the publishing socket: 1 or 0, and the topic. Anything else a peer made up."""
        head = message[0]
        if len(message) != 1 or not len(head) or head[0] > SUBSCRIBED:
            return
        name = present_name(head[1:])
        if name is None:
            return
        if head[0] != SUBSCRIBED:
            self._names.discard(name)
        elif len(self._names) < MAX_PRESENT:
            self._names.add(name)
