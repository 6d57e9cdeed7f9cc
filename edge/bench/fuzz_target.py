"""What `edge bench fuzz` tries to break: a reader of bytes, honest bytes for it, and what it may raise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from edge.bench.fuzz_documents import Format
from edge.bench.fuzz_inputs import Parts
from streams.messages import CodecError, Part


class Taken(NamedTuple):
    """What became of an input that raised nothing."""

    claimed: int = 0  # bytes that its claims entitle it to
    refused: str = ""  # why a part of it was refused later, when it was decompressed


Feed: TypeAlias = Callable[[Sequence[Part]], Taken]
"""Takes one message (or file) in."""


@dataclass(frozen=True)
class Target:
    """One reader of bytes; it is made anew for every batch of inputs."""

    messages: Callable[[], list[Parts]]  # honest ones
    fresh: Callable[[], Feed]
    format: Format | None = None  # of the documents in the messages
    allowed: tuple[type[BaseException], ...] = (CodecError,)
