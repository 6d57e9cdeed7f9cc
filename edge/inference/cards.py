"""Cards as files, beside the graphs that they describe."""

import logging
import os
from pathlib import Path

from edge.models.card import CARD_FILE, Card, CardError, Validity, card_bytes, parse_card

LOG = logging.getLogger(__name__)


def card_of(folder: Path) -> Card | None:
    """The card of a version; None where it has none. Raises CardError, which names the file, where it is no card."""
    path = folder / CARD_FILE
    try:
        return parse_card(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}") from error
    except CardError as error:
        raise CardError(f"{path}: {error}") from error


def valid_of(model: str, folder: Path) -> Validity:
    """The range of the card of a version of `model`; without a card of its own that can be read nothing is judged."""
    try:
        card = card_of(folder)
    except CardError as error:
        LOG.warning("%s: %s; no result of it is labelled untrained", model, error)
        return Validity()
    if card is not None and card.model != model:
        LOG.warning("%s: %s has the card of %s; no result of it is labelled untrained", model, folder, card.model)
        return Validity()
    return Validity() if card is None else card.valid


def write_card(folder: Path, card: Card) -> None:
    """Whole or not at all: a server may be reading it. Raises OSError where it cannot be written."""
    aside = folder / f".{CARD_FILE}.new"
    with aside.open("wb") as file:
        file.write(card_bytes(card))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / CARD_FILE)
