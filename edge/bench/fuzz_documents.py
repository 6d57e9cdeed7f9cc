"""Changes inside documents (JSON, CBOR, msgpack) that leave them well-formed: the hostile part is what they say."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import cbor2
import msgpack
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

Tree: TypeAlias = Any
"""A document in plain types, CBOR tags, dates and byte strings."""


class Format(NamedTuple):
    """How documents of a protocol are written."""

    loads: Callable[[bytes], Tree]
    dumps: Callable[[Tree], bytes]


EVIL: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 8, 63, 64, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**62, 2**63 - 1),
    *(2**63, 2**64 - 1, 2**64, -(2**31), -(2**63), 10**30, 0.0, -0.0, 0.5, 1e-300, 1e308, float("nan"), float("inf")),
    *(True, False, None, "", "\0", "a" * 300, "\u00e9\u4e2d\U0001f600", "NaN", "1", b"", b"\0" * 12, b"\xff" * 40),
    *([], {}, [[]], {"": {}}, [0, 0], [-1, 5], [5, 7], [7, 5], [1, 1, 1], [2**31, 2**31], [2**40, 1], [1 << 62, 4]),
    *([1, 35], [35, 1], [20000, 20000], [2, 3, 4, 5, 6], [1.5, 2], ["5", "7"], [None, None], [True, True], [[5, 7]]),
    *("uint8", "uint16", "uint32", "uint64", "int16", "float32", "float64", "complex128", "object", "<u2", ">u4", "O"),
    *("lz4", "bslz4", "bszstd", "lz4<", "bs8-lz4<", "bs16-lz4<", "bs32-lz4>", "<", ">", "none", "bitshuffle_lz4"),
    *("image", "start", "end", "array", "msgpack", "little", "big", "all", "none", "basic", "data", "stop"),
)
"""Values at the edges of what is allowed, and words that mean something where they do not belong."""

TAGS = (0, 1, 2, 3, 4, 24, 30, 40, 64, 65, 69, 70, 72, 77, 85, 87, 258, 1040, 55799, 56500, 2**32, 2**64 - 1)

_NUMBERS = st.integers() | st.floats() | st.integers(-4, 40).map(lambda power: 2 ** max(power, 0) - 1)
_LEAVES = st.none() | st.booleans() | _NUMBERS | st.text(max_size=12) | st.binary(max_size=24)


@cache
def hypothesis_values(seed: int, count: int = 200) -> Sequence[Tree]:
    """Documents that hypothesis makes: values of every type, nested."""
    found: list[Tree] = []
    trees = st.recursive(
        _LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5)
    )

    @seeded(seed)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])  # fmt: skip
    @given(trees)
    def collect(tree: Tree) -> None:
        found.append(tree)

    collect()
    return found


def changed(rng: random.Random, tree: Tree, values: Sequence[Tree]) -> Tree:
    """A copy with one place changed; `values` are offered beside `EVIL`. The tree itself stays as it is."""
    inner = _places(tree)
    if inner and rng.random() < 0.85:
        at = rng.choice(inner)
        if isinstance(tree, cbor2.CBORTag):
            if rng.random() < 0.3:
                return cbor2.CBORTag(rng.choice(TAGS), tree.value)
            return cbor2.CBORTag(tree.tag, changed(rng, tree.value, values))
        copy = tree.copy()
        copy[at] = changed(rng, tree[at], values)
        return copy
    if isinstance(tree, dict) and tree and rng.random() < 0.7:
        return _other_map(rng, tree, values)
    if isinstance(tree, list) and tree and rng.random() < 0.7:
        return _other_list(rng, tree, values)
    if isinstance(tree, int | float) and rng.random() < 0.4:
        return rng.choice((tree + 1, tree - 1, -tree, tree * 2, tree * 2.0 + 0.5, str(tree), [tree]))
    if isinstance(tree, bytes) and rng.random() < 0.5:
        return tree[: rng.randrange(len(tree) + 1)] if rng.random() < 0.5 else tree + tree[:40]
    return evil(rng, values)


def evil(rng: random.Random, values: Sequence[Tree]) -> Tree:
    """A value that does not belong."""
    return rng.choice(values) if values and rng.random() < 0.4 else rng.choice(EVIL)


def _places(tree: Tree) -> Sequence[Any]:
    if isinstance(tree, dict):
        return list(tree)
    if isinstance(tree, list):
        return range(len(tree))
    return (0,) if isinstance(tree, cbor2.CBORTag) else ()


def _other_map(rng: random.Random, tree: dict[Any, Tree], values: Sequence[Tree]) -> Tree:
    copy = dict(tree)
    key = rng.choice(list(tree))
    match rng.randrange(4):
        case 0:
            del copy[key]
        case 1:
            copy[str(evil(rng, ()))] = evil(rng, values)
        case 2:
            copy[key] = copy[rng.choice(list(tree))]
        case _:
            copy |= {f"{key}{index}": tree[key] for index in range(rng.choice((3, 70, 300)))}
    return copy


def _other_list(rng: random.Random, tree: list[Tree], values: Sequence[Tree]) -> Tree:
    at = rng.randrange(len(tree))
    match rng.randrange(5):
        case 0:
            return tree[:at] + tree[at + 1 :]
        case 1:
            return [*tree, evil(rng, values)]
        case 2:
            return tree[::-1]
        case 3:
            return tree * rng.choice((2, 9, 200))
        case _:
            return [tree]


def _thawed(tree: Tree) -> Tree:
    """cbor2 gives immutable types inside tags."""
    if isinstance(tree, Mapping):
        return {key: _thawed(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_thawed(value) for value in tree]
    return cbor2.CBORTag(tree.tag, _thawed(tree.value)) if isinstance(tree, cbor2.CBORTag) else tree


def _json(tree: Tree) -> bytes:
    return json.dumps(tree, default=repr).encode()  # NaN and Infinity as some writers print them


JSON = Format(json.loads, _json)
CBOR = Format(lambda part: _thawed(cbor2.loads(part)), cbor2.dumps)
MSGPACK = Format(
    lambda part: msgpack.unpackb(part, strict_map_key=False), lambda tree: bytes(msgpack.packb(tree) or b"")
)
