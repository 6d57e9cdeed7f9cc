"""What goes wrong on purpose, as a client orders it over HTTP."""

from http import HTTPStatus
from typing import Annotated, Any

import msgspec

from edge.simulate.machine import COMMANDS
from edge.simulate.refusal import Refused
from streams.simulation.faults import Faults, read_fault

Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Numbers = Annotated[list[Number], msgspec.Meta(max_length=10_000)]
Names = Annotated[list[str], msgspec.Meta(max_length=100)]


class Orders(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """They hold for every series until they are replaced; those left out are empty."""

    lose: Numbers = []  # image ids that are never sent; the file has them
    short_triggers: Numbers = []  # triggers of a series, from 0, that expose one image fewer
    corrupt: Numbers = []  # image ids that are sent with half of their pixel data
    stream: Names = []  # what happens to the stream by chance, as `streams.simulation.faults` calls it: "drop=0.05"
    seed: Number = 0  # of that chance
    silent_commands: Names = []  # detector commands that are obeyed and never answered

    def on_wire(self) -> Faults:
        """Those that a stream knows.

        Raises:
            ValueError: an order of `stream` is none.
        """
        orders = tuple(map(read_fault, self.stream))
        return Faults(lost=frozenset(self.lose), corrupted=frozenset(self.corrupt), orders=orders, seed=self.seed)


def read_orders(value: Any) -> Orders:
    """From a JSON document.

    Raises:
        Refused: it is not such a document.
    """
    try:
        orders = msgspec.convert(value, Orders)
    except msgspec.ValidationError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"faults: {error}") from error
    _check_stream(orders)
    unknown = set(orders.silent_commands) - set(COMMANDS)
    if unknown:
        raise Refused(HTTPStatus.BAD_REQUEST, f"faults: silent_commands may name {', '.join(COMMANDS)}")
    return orders


def _check_stream(orders: Orders) -> None:
    try:
        planned = [order.name for order in orders.on_wire().orders if order.plans or order.name == "delay"]
    except ValueError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"faults: stream: {error}") from error
    if planned:
        reason = f"faults: stream: {planned[0]} is done by commands to the detector, not by its stream"
        raise Refused(HTTPStatus.BAD_REQUEST, reason)
