"""The conversation with the agent's service: a DEALER asks, its ROUTER answers, one msgpack map a message.

    client  -> {"op": "open", "number": 1, "experiment": "lysozyme-3", "definition": {...}}
    service -> {"op": "opened", "number": 1, "observations": 12, "pending": 1}
    client  -> {"op": "request", "number": 2, "experiment": "lysozyme-3", "key": "a-run/13", "n": 1}
    service -> {"op": "suggested", "number": 2, "suggestions": [...]}
    client  -> {"op": "ingest", "number": 3, "experiment": "lysozyme-3", "observations": [...]}
    service -> {"op": "taken", "number": 3}

`abandon` and `close` are answered with `taken` too, `ping` with `pong`, and whatever cannot be done with `failed`. The
number is the client's own, to tell answers apart. Everything may be sent again, by the same or another connection, and
after the service was started anew: an experiment is opened once, a key has one answer, an observation is known by its
id. So a client that has no answer asks again.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from edge.agent.optimizer import MOST_PENDING
from edge.steering.words import Count, Definition, HowMany, Id, Ids, Name, ObservationWords, SuggestionWords, unpack
from streams.bounds import MAX_REQUEST_BYTES
from streams.messages import Part

MAX_ANSWER_BYTES = 1 << 20
MOST_OBSERVATIONS = 32
"""In one message, which is bounded by MAX_REQUEST_BYTES too."""
MAX_TEXT = 500

Kind: TypeAlias = Literal[
    "malformed",  # no request
    "too_large",
    "not_open",  # open the experiment first: the service was started anew, or has put it aside
    "differs",  # the experiment was opened with another definition
    "refused",  # the agent takes no such value
    "cannot_suggest",  # see `edge.agent.messages.CannotSuggest`
    "full",  # the experiment, or the folder, takes no more
    "busy",  # ask again later
    "disk",  # the log cannot be written: nothing was answered that is not in it; ask again later
    "unusable",  # the experiment's log cannot be used
    "failed",  # an error of the service itself; its log has it
]


class Open(msgspec.Struct, frozen=True, tag_field="op", tag="open"):
    number: Count
    experiment: Name
    definition: Definition


class Ask(msgspec.Struct, frozen=True, tag_field="op", tag="request"):
    number: Count
    experiment: Name
    key: Id
    n: HowMany


class Ingest(msgspec.Struct, frozen=True, tag_field="op", tag="ingest"):
    number: Count
    experiment: Name
    observations: Annotated[tuple[ObservationWords, ...], msgspec.Meta(min_length=1, max_length=MOST_OBSERVATIONS)]


class Abandon(msgspec.Struct, frozen=True, tag_field="op", tag="abandon"):
    number: Count
    experiment: Name
    suggestion_ids: Ids


class Close(msgspec.Struct, frozen=True, tag_field="op", tag="close"):
    """The experiment is put aside: its log stays, and it may be opened again."""

    number: Count
    experiment: Name


class Ping(msgspec.Struct, frozen=True, tag_field="op", tag="ping"):
    number: Count


class Opened(msgspec.Struct, frozen=True, tag_field="op", tag="opened"):
    number: Count
    observations: Count
    pending: Count


class Suggested(msgspec.Struct, frozen=True, tag_field="op", tag="suggested"):
    """Fewer than were asked for, or none, where nothing is left."""

    number: Count
    suggestions: Annotated[tuple[SuggestionWords, ...], msgspec.Meta(max_length=MOST_PENDING)]


class Taken(msgspec.Struct, frozen=True, tag_field="op", tag="taken"):
    number: Count


class Pong(msgspec.Struct, frozen=True, tag_field="op", tag="pong"):
    number: Count
    since: float  # unix time of the service's start, s: another one after it was started anew
    pid: Count
    experiments: tuple[str, ...]  # that are open
    counts: dict[str, int]  # what came in and went out since then, see `edge.steering.desk.Desk`


class Failed(msgspec.Struct, frozen=True, tag_field="op", tag="failed"):
    number: Count  # 0: of a message that has none
    kind: Kind
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]


Request: TypeAlias = Open | Ask | Ingest | Abandon | Close | Ping
Answer: TypeAlias = Opened | Suggested | Taken | Pong | Failed


def unpack_request(part: Part) -> Request:
    """What a client asks. Raises CodecError where it is no request, or beyond the limits."""
    return unpack(part, _REQUEST, MAX_REQUEST_BYTES)


def unpack_answer(part: Part) -> Answer:
    """What the service answers. Raises CodecError where it is no answer."""
    return unpack(part, _ANSWER, MAX_ANSWER_BYTES)


_REQUEST: Any = Request
_ANSWER: Any = Answer
