"""An agent that goes on where another left off suggests what that one would have suggested."""

import dataclasses
from collections.abc import Iterator, Sequence

import pytest

from edge.agent.messages import Observation, Suggestion
from edge.agent.optimizer import PLANNED, GaussianProcessAgent
from edge.agent.options import Options
from edge.agent.past import Abandoned, Learned, Past
from tests.unit.agent.worlds import SPACE, measured

SEED = 3
ENDLESS = Options(start_points=6, candidates=100, training="deferred")
PLANNING = Options(start_points=6, candidates=100, points=30, training="deferred")
TIMED = Options(start_points=6, candidates=100, beam_time_s=20.0, training="deferred")


def new(options: Options, past: Sequence[Past] = ()) -> GaussianProcessAgent:
    return GaussianProcessAgent(SPACE, seed=SEED, options=options, past=past)


def life(agent: GaussianProcessAgent, points: int) -> Iterator[Past]:
    """Yields after each thing that was done; trainings end two points after they began, each ninth is abandoned."""
    training, since, version = None, 0, 0
    (now,) = agent.suggest()
    yield now
    for at in range(points):
        (after,) = agent.suggest()
        yield after
        if at % 9 == 8:
            agent.abandon([now.id])
            yield Abandoned((now.id,))
        else:
            (seen,) = measured(SPACE.array(now.position)[None], at)
            seen = Observation(f"o{at}", seen.position, seen.value, seen.variance, now.id)
            agent.ingest([seen])
            yield seen
        if training is None:
            training, since = agent.training_due(), at
        elif at >= since + 2:
            agent.adopt(training.run())
            training = None
        learned = agent.learned()
        if learned is not None and learned.version != version:
            version = learned.version
            yield learned
        now = after


def same(left: Suggestion, right: Suggestion) -> None:
    """But for rounding: rows are appended one by one here, and at once there."""
    assert left.sigma == pytest.approx(right.sigma, rel=1e-6, nan_ok=True)
    assert dataclasses.replace(left, sigma=0.0) == dataclasses.replace(right, sigma=0.0)


@pytest.mark.parametrize("options", [ENDLESS, PLANNING, TIMED], ids=["endless", "planning", "timed"])
def test_at_whatever_moment_it_was_stopped_it_goes_on_as_it_would_have(options):
    done: list[Past] = []
    for one in life(new(options), 17):
        if isinstance(one, Suggestion):
            resumed = new(options, done)
            (again,) = resumed.suggest()
            same(again, one)
        done.append(one)
    kinds = {type(one) for one in done}
    assert kinds == {Suggestion, Observation, Abandoned, Learned}
    reasons = {one.acquisition for one in done if isinstance(one, Suggestion)}
    assert reasons == {"start", options.acquisition if options is ENDLESS else PLANNED}


def test_what_was_out_is_out_again_and_can_be_observed():
    agent = new(PLANNING)
    done = list(life(agent, 10))
    resumed = new(PLANNING, done)
    assert resumed.observations == agent.observations
    out = [one for one in done if isinstance(one, Suggestion)][-1]
    assert resumed.suggest()[0].pending == agent.suggest()[0].pending == 1
    (seen,) = measured(SPACE.array(out.position)[None], 99)
    resumed.ingest([Observation("late", seen.position, seen.value, seen.variance, out.id)])
    assert resumed.suggest()[0].pending == 1


def test_a_training_that_was_not_over_is_due_again():
    agent = new(PLANNING)
    done = []
    for one in life(agent, 25):
        done.append(one)
        if len([each for each in done if isinstance(each, Observation)]) == PLANNING.start_points - 1:
            break
    resumed = new(PLANNING, done)
    assert resumed.training_due() is not None


def test_no_id_is_given_twice_where_a_part_of_the_past_is_lost():
    done = [one for one in life(new(ENDLESS), 12) if not isinstance(one, Abandoned)]
    names = {one.id for one in done if isinstance(one, Suggestion)}
    resumed = new(ENDLESS, [one for at, one in enumerate(done) if at % 3])
    assert resumed.suggest()[0].id not in names


def test_a_tour_through_another_space_is_refused():
    learned = new(PLANNING)
    list(life(learned, 15))
    past = learned.learned()
    assert past is not None
    with pytest.raises(ValueError, match="none of the 100"):
        new(PLANNING, [dataclasses.replace(past, tour=(5, 100))])
