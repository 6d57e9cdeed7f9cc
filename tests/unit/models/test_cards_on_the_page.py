"""The page of the models shows their cards as they are."""

import re
from pathlib import Path

import pytest

from edge.commands.model_card import markdown
from edge.models.card import CARD_FILE, parse_card
from edge.models.registry import MODELS

REPOSITORY = Path(__file__).parents[3] / "model_repo"
PAGE = (REPOSITORY / "README.md").read_text()
SHOWN = dict(re.findall(r"<!-- card (\w+) -->\n(.*?)<!-- end of card -->", PAGE, re.S))


def test_every_model_with_a_card_is_on_the_page():
    assert set(SHOWN) == {path.parents[1].name for path in REPOSITORY.glob(f"*/*/{CARD_FILE}")}
    assert set(SHOWN) == set(MODELS) - {"identity"}  # which learned nothing


@pytest.mark.parametrize("model", sorted(SHOWN))
def test_the_page_shows_the_card(model):
    """Else: edge models card MODEL --markdown."""
    assert SHOWN[model] == markdown(parse_card((REPOSITORY / model / "1" / CARD_FILE).read_bytes()))
