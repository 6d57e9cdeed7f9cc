"""What the wire and the log have in common: spaces, suggestions and observations as msgpack, each with its limits."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgpack
import msgspec

from edge.agent.log import MOST_OBSERVATIONS
from edge.agent.messages import Observation, Suggestion
from edge.agent.optimizer import MOST_PENDING, GaussianProcessAgent
from edge.agent.options import Options
from edge.agent.past import Past
from edge.agent.space import MOST_AXES, Axis, Space
from streams.messages import CodecError, Part

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}\Z")]
"""Of an experiment: it names a file and begins the id of every suggestion."""
AxisName = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Position = Annotated[dict[AxisName, float], msgspec.Meta(min_length=1, max_length=MOST_AXES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
HowMany = Annotated[int, msgspec.Meta(ge=1, le=MOST_PENDING)]
Ids = Annotated[tuple[Id, ...], msgspec.Meta(min_length=1, max_length=MOST_PENDING)]


class AxisWords(msgspec.Struct, frozen=True):
    """An axis; units as in `edge.agent.space.Axis`."""

    name: AxisName
    low: float
    high: float
    speed: float


class OptionsWords(msgspec.Struct, frozen=True):
    """`edge.agent.options.Options` without `training`, which is the server's own affair.

    An agent's memory grows with observations times candidates: 0.7 GB at the most of both.
    """

    exposure_s: float
    points: Annotated[int, msgspec.Meta(ge=1, le=MOST_OBSERVATIONS)] | None
    beam_time_s: float | None
    start_points: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    acquisition: Annotated[str, msgspec.Meta(max_length=64)]
    candidates: Annotated[int, msgspec.Meta(ge=1, le=10_000)]
    references: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class Definition(msgspec.Struct, frozen=True):
    """All that an agent is made of: the same definition makes the same agent."""

    axes: Annotated[tuple[AxisWords, ...], msgspec.Meta(min_length=1, max_length=MOST_AXES)]
    overhead_s: float
    seed: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
    options: OptionsWords

    def agent(self, name: str, past: Sequence[Past] = ()) -> GaussianProcessAgent:
        """An agent with this past. Raises ValueError as `check`, and where the past is not that of such an agent."""
        space, options = self.check()
        return GaussianProcessAgent(space, seed=self.seed, name=name, options=options, past=past)

    def check(self) -> tuple[Space, Options]:
        """What the words mean. Raises ValueError where limits, speeds or options make no sense."""
        axes = tuple(Axis(one.name, one.low, one.high, one.speed) for one in self.axes)
        return Space(axes, self.overhead_s), Options(**msgspec.structs.asdict(self.options), training="deferred")


class SuggestionWords(msgspec.Struct, frozen=True):
    """As `edge.agent.messages.Suggestion`."""

    id: Id
    position: Position
    sigma: float
    surrogate_version: Count
    observations: Count
    pending: Count
    acquisition: Annotated[str, msgspec.Meta(max_length=64)]

    def meant(self) -> Suggestion:
        return Suggestion(**msgspec.structs.asdict(self))


class ObservationWords(msgspec.Struct, frozen=True):
    """As `edge.agent.messages.Observation`."""

    id: Id
    position: Position
    value: float
    variance: float
    suggestion_id: Id | None = None

    def meant(self) -> Observation:
        return Observation(**msgspec.structs.asdict(self))


def definition(space: Space, seed: int, options: Options) -> Definition:
    """As it is sent and kept. Raises ValueError where it is beyond the limits."""
    axes = [msgspec.to_builtins(axis) for axis in space.axes]
    chosen = {name: getattr(options, name) for name in OptionsWords.__struct_fields__}
    plain = {"axes": axes, "overhead_s": space.overhead_s, "seed": seed, "options": chosen}
    return _checked(plain, Definition)


def suggestion_words(suggestion: Suggestion) -> SuggestionWords:
    """Of a suggestion that is ours."""
    fields: dict[str, Any] = {name: getattr(suggestion, name) for name in SuggestionWords.__struct_fields__}
    fields["position"] = dict(suggestion.position)
    return SuggestionWords(**fields)


def observation_words(observation: Observation) -> ObservationWords:
    """Raises ValueError where it is beyond the limits."""
    position: Mapping[str, Any] = {name: float(value) for name, value in observation.position.items()}
    numbers = {"value": float(observation.value), "variance": float(observation.variance)}
    plain = {"id": observation.id, "position": position, "suggestion_id": observation.suggestion_id} | numbers
    return _checked(plain, ObservationWords)


def pack(message: msgspec.Struct) -> bytes:
    """One message as msgpack."""
    return bytes(msgpack.packb(msgspec.to_builtins(message), use_bin_type=True) or b"")


def unpack(part: Part, kind: Any, most_bytes: int) -> Any:
    """A message of `kind`. Allocates no more than the bytes there are ask for.

    Raises:
        CodecError: it is no such message, or beyond the limits.
    """
    if len(part) > most_bytes:
        raise CodecError("too_large", f"a message of {len(part)} bytes; at most {most_bytes} are read")
    try:
        return msgspec.convert(msgpack.unpackb(part, raw=False, strict_map_key=True), kind, strict=True)
    except (ValueError, msgpack.UnpackException, msgspec.ValidationError, RecursionError) as error:
        raise CodecError("malformed", str(error)[:300]) from error


def _checked(plain: Mapping[str, Any], kind: Any) -> Any:
    try:
        return msgspec.convert(plain, kind, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(f"the agent's service cannot take this: {error}") from error
