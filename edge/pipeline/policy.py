"""What a route does with more images than its model takes."""

import msgspec

from streams.routing import WhenFull

OVERLOAD = "overload"
"""Reason of a drop: the model takes fewer images than come."""

SUPERSEDED = "superseded"
"""Reason of a drop: a newer image came before the model had time for this one."""


class Policy(msgspec.Struct, frozen=True):
    """Of one route."""

    when_full: WhenFull = "block"
    slots: int = 0  # that its images may hold; 0: as many as its part
    sharing: int = 1  # routes that drop

    @property
    def drops(self) -> bool:
        return self.when_full != "block"

    def quota(self, slots: int) -> int:
        """How many of a lane's `slots` the images of a route that drops may hold, at least one.

        Half of them belong to such routes, in equal parts: the others must find room beside them.
        """
        part = max(1, slots // (2 * max(1, self.sharing)))
        return min(self.slots, part) if self.slots else part
