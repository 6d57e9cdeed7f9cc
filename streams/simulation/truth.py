"""What really happened on the wire, from what the simulated detector sent: nothing that a receiver could get wrong."""

from collections.abc import Iterable

import msgspec

from streams.simulation.onwire import OnWire


class SeriesTruth(msgspec.Struct):
    """One series as it left. Ids are those of images; a train has several."""

    series: int  # which one of the sender, from 0
    started: bool = False
    ended: bool = False
    followed: bool = False  # a later series was begun
    whole: set[int] = msgspec.field(default_factory=set)  # sent undamaged, before another series was begun
    empty: set[int] = msgspec.field(default_factory=set)  # the sender said that there is no such image
    damaged: set[int] = msgspec.field(default_factory=set)  # sent damaged
    repeated: list[int] = msgspec.field(default_factory=list)  # sent again as they were sent before
    stale_images: int = 0  # sent after another series was begun
    stale_ends: int = 0  # so were its ends

    @property
    def lost(self) -> set[int]:
        """Ids that can have arrived only damaged, if at all."""
        return self.damaged - self.whole


def truth_of(messages: Iterable[OnWire]) -> list[SeriesTruth]:
    """The truth about each series that left at all, in the order in which they were begun."""
    found: dict[int, SeriesTruth] = {}
    for message in messages:
        truth = found.get(message.series)
        if truth is None:
            for older in found.values():
                older.followed = True
            truth = found[message.series] = SeriesTruth(message.series)
        if message.image_id is None:
            truth.started |= message.kind == "start"
            truth.ended |= message.kind == "end" and not truth.followed
            truth.stale_ends += message.kind == "end" and truth.followed
            continue
        ids = range(message.image_id, message.image_id + message.images)
        if truth.followed:
            truth.stale_images += 0 if message.empty else message.images
        elif message.empty and not message.damage:
            truth.empty.update(ids)
        elif message.repeat:
            truth.repeated += ids
        elif message.damage:
            truth.damaged.update(ids)
        else:
            truth.whole.update(ids)
    return list(found.values())
