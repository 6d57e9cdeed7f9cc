import re

import msgspec
import pytest

from edge.inference.repository import SHIPPED
from edge.models.card import Card, CardError, Figure, Measured, Span, Validity, card_bytes, parse_card

FIGURE = Figure("mae", 0.07, "rad", (0.06, 0.08), "x", "at most 0.1", True)
CARD = Card(
    "ptycho",
    ("simulated frames",),
    "rows 0 to 40",
    {"seed": 0},
    17,
    1e-6,
    Validity((128, 128), Span(1e4, 1e6), Span(8e3, 9e3), Span(1e-8, 2e-8), "ab" * 32),
    ((50.0, 0.3),),
    Measured("edge evaluate ptycho", {"cores": 2}, (FIGURE,)),
    {"probe_scan": {"patch_px": 128}},
)


def test_comes_back_as_it_was():
    assert parse_card(card_bytes(CARD)) == CARD


def test_what_is_not_told_does_not_matter():
    card = parse_card(b'{"model":"peaks","data":[],"split":"","training":{},"parameters":1,"onnx_minus_torch":0}')
    assert card.valid == Validity() and card.measured is None


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"", "no model card"),
        (b"[]", "array"),
        (b'{"model": 3}', r"\$.model"),
        (b"\xff\xfe", "no model card"),
        (b'{"model":"caf\xe9"}', "no model card"),  # Latin-1
        (b'{"extra":' + b"[" * 5000 + b"]" * 5000 + b"}", "no model card"),
    ],
)
def test_a_card_that_cannot_be_read_says_where(content, where):
    with pytest.raises(CardError, match=where):
        parse_card(content)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*/*/card.json")), ids=lambda path: path.parts[-3])
def test_a_shipped_card_tells_no_folders(path):
    """Whoever gets it has other ones."""
    card = parse_card(path.read_bytes())
    texts = list(texts_of(msgspec.to_builtins(card)))
    assert card.model == path.parts[-3] and len(texts) > 5
    assert not [text for text in texts if re.search(r"(^|[\s=\'\"])(/\w|~/|[A-Za-z]:\\)", text)]


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from texts_of(name)
            yield from texts_of(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from texts_of(one)
