"""Cards as files: what cannot be read costs the label, and no start."""

import logging
from pathlib import Path

import pytest

from edge.inference.cards import card_of, valid_of, write_card
from edge.models.card import CARD_FILE, Card, CardError, Span, Validity

VALID = Validity(energy_ev=Span(8800, 8800))
CARD = Card("peaks", (), "", {}, 1, 0.0, VALID)


def test_a_card_is_written_whole_and_read_again(tmp_path: Path):
    assert card_of(tmp_path) is None and valid_of("peaks", tmp_path) == Validity()
    write_card(tmp_path, CARD)
    assert card_of(tmp_path) == CARD and valid_of("peaks", tmp_path) == VALID
    assert [path.name for path in tmp_path.iterdir()] == [CARD_FILE]


@pytest.mark.parametrize("content", [b"", b'{"data":["caf\xe9"]}', b'{"extra":' + b"[" * 5000])
def test_a_card_that_cannot_be_read_costs_the_label_alone(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
):
    (tmp_path / CARD_FILE).write_bytes(content)
    with pytest.raises(CardError, match=CARD_FILE):
        card_of(tmp_path)
    with caplog.at_level(logging.WARNING):
        assert valid_of("peaks", tmp_path) == Validity()
    assert "no result of it is labelled untrained" in caplog.text


def test_the_card_of_another_model_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_card(tmp_path, CARD)
    assert valid_of("bragg", tmp_path) == Validity()
    assert "has the card of peaks" in caplog.text
