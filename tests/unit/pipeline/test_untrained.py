"""The label of a series on a route: what the header tells at once, and what its first images tell."""

from edge.models.card import Span, Validity
from edge.pipeline.untrained import EVERY_NS, FIRST_IMAGES, MOST_REASONS, Range

VALID = Validity(counts_per_frame=Span(100, 200), energy_ev=Span(8800, 8800))
ENERGY = "energy 12 keV, trained at 8.8 keV"


def test_the_header_is_judged_when_the_series_opens_and_when_it_comes_late():
    trained = Range(VALID)
    trained.opened({}, {})
    assert trained.reasons == ()
    trained.opened({"photon_energy": 12_000.0}, {})
    assert trained.reasons == (ENERGY,) and trained.given == ()


def labels(counts: list[float], trained: Range, apart_ns: int) -> list[bool]:
    """Whether each image of a series is labelled, measured where it is due."""
    found = []
    for at, value in enumerate(counts):
        if trained.due(at * apart_ns):
            trained.measured(value, at * apart_ns)
        found.append(bool(trained.reasons))
    return found


def test_the_first_image_is_judged_at_once_and_a_single_odd_one_labels_no_others():
    assert labels([1.0, 150.0, 150.0, 150.0], Range(VALID), 1) == [True, False, False, False]
    assert labels([150.0, 1.0, 150.0, 150.0], Range(VALID), 1) == [False, True, False, False]
    assert labels([150.0, 150.0, 1.0, 150.0], Range(VALID), 1) == [False] * 4
    assert labels([1.0, 1.0, 150.0, 150.0], Range(VALID), 1) == [True, True, True, False], "one image late"


def test_a_change_is_seen_when_an_image_is_due_and_one_more_was_measured():
    apart_ns = EVERY_NS // 100
    changed = FIRST_IMAGES + 120
    found = labels([150.0] * changed + [3.0] * 200, Range(VALID), apart_ns)
    assert not any(found[:changed]) and found[-1]
    late = found.index(True) - changed
    assert late <= 100 + 1, "images of the time between two, and the next one"


def test_a_single_odd_image_later_costs_two_and_changes_nothing():
    trained = Range(VALID)
    for at in range(FIRST_IMAGES):
        trained.measured(150.0, at)
    trained.measured(3.0, EVERY_NS * 2)
    assert trained.due(EVERY_NS * 2 + 1) and not trained.reasons
    trained.measured(150.0, EVERY_NS * 2 + 1)
    trained.measured(150.0, EVERY_NS * 2 + 2)
    assert not trained.due(EVERY_NS * 2 + 3) and not trained.reasons


def test_a_flickering_beam_is_not_measured_image_by_image():
    trained, measured = Range(VALID), 0
    for at in range(1000):
        now_ns = at * EVERY_NS // 100
        if trained.due(now_ns):
            trained.measured(150.0 if at % 2 else 3.0, now_ns)
            measured += 1
    assert measured <= FIRST_IMAGES + 10 * 3


def test_few_images_are_measured():
    trained = Range(VALID)
    measured = 0
    for at in range(1000):
        now_ns = at * 10_000_000  # 100 images a second
        if trained.due(now_ns):
            trained.measured(150.0, now_ns)
            measured += 1
    assert measured == FIRST_IMAGES + 10_000_000_000 // EVERY_NS - 1
    assert not Range().due(0), "nothing is measured for a card that does not say"


def test_reasons_that_were_given_are_kept_once_and_are_few():
    trained = Range(VALID)
    for number in (1, 1, 2):
        trained.label((ENERGY, f"{number}"))
    assert trained.given == (ENERGY, "1", "2")
    trained.label(tuple(map(str, range(100))))
    assert len(trained.given) == MOST_REASONS
