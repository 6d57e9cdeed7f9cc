import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.agent.hyperparameters import Data
from edge.agent.log import MOST_OBSERVATIONS, Log
from edge.agent.messages import CannotSuggest, Observation
from edge.agent.optimizer import MOST_PENDING, GaussianProcessAgent
from edge.agent.options import Options
from edge.agent.path import snake_raster
from edge.agent.reconstruct import reconstruct
from tests.unit.agent.worlds import SPACE, dense, measured, observation, waves

FEW = Options(start_points=6, candidates=100, training="deferred")
GRID = SPACE.candidates(20)


def run(agent: GaussianProcessAgent, points: int, seed: int = 0) -> list[Observation]:
    """Measures `points`; asks for the next one while one is measured, as a plan does."""
    made: list[Observation] = []
    (now,) = agent.suggest()
    for at in range(points):
        (after,) = agent.suggest()
        (seen,) = measured(SPACE.array(now.position)[None], seed + at)
        made.append(Observation(f"o{at}", seen.position, seen.value, seen.variance, now.id))
        agent.ingest(made[-1:])
        now = after
    return made


def error(observations: list[Observation]) -> float:
    mean, _ = reconstruct(SPACE, observations, GRID)
    truth = waves(SPACE.to_unit(GRID))
    return float(np.sqrt(np.mean((mean - truth) ** 2)) / np.ptp(truth))


def beam_time(path: np.ndarray, exposure_s: float = 0.1) -> float:
    return len(path) * (exposure_s + SPACE.overhead_s) + float(SPACE.travel_s(path[:-1], path[1:]).sum())


unit = st.integers(0, 5).map(lambda k: k / 5)
some = st.tuples(st.integers(0, 9), unit, unit, st.floats(-5, 5), st.integers(-1, 9))
action = st.one_of(
    st.tuples(st.just("ingest"), st.lists(some, min_size=1, max_size=3)),
    st.tuples(st.just("suggest"), st.integers(1, 3)),
    st.tuples(st.just("abandon"), st.integers(0, 9)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(action, max_size=14))
def test_whatever_happened_only_the_final_observations_and_what_is_out_count(actions):
    agent = GaussianProcessAgent(SPACE, options=FEW)
    agent.ingest(measured(SPACE.sobol(5, 0), 0))
    training = agent.training_due()
    assert training is not None
    learned = training.run()
    agent.adopt(learned)
    out: dict[str, np.ndarray] = {}
    names: list[str] = []
    for what, told in actions:
        if what == "suggest":
            for suggestion in agent.suggest(told):
                names.append(suggestion.id)
                out[suggestion.id] = SPACE.array(suggestion.position)
        elif what == "abandon":
            agent.abandon([names[told] if told < len(names) else f"unknown-{told}"])
            out.pop(names[told] if told < len(names) else "", None)
        else:
            seen = [
                observation(f"n{k}", (x, y), value, 0.1, names[s] if 0 <= s < len(names) else None)
                for k, x, y, value, s in told
            ]
            agent.ingest(seen)
            for one in seen:
                out.pop(one.suggestion_id or "", None)
    final = agent.observations
    hyper = learned.surrogate.hyperparameters
    known = Data(
        SPACE.to_unit([SPACE.array(o.position) for o in final]),
        np.array([o.value for o in final]),
        np.array([o.variance for o in final]),
    )
    pending = SPACE.to_unit(np.array(list(out.values())).reshape(-1, 2))
    posterior = agent.posterior()
    candidates = SPACE.to_unit(posterior.positions)
    mean, variance = dense(candidates, hyper, known.positions, known.values, known.variances, pending)
    np.testing.assert_allclose(posterior.mean, mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((posterior.sigma / hyper.scale) ** 2, variance, atol=1e-6)


def test_an_agent_told_the_same_suggests_the_same():
    options = Options(start_points=6, candidates=100, points=16)
    one, same = (GaussianProcessAgent(SPACE, seed=3, options=options) for _ in range(2))
    assert run(one, 14) == run(same, 14)
    assert one.surrogate_version == same.surrogate_version > 1


def test_a_pending_suggestion_is_not_suggested_again_until_it_is_abandoned():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=6, candidates=100, acquisition="variance"))
    run(agent, 8)
    first, second = agent.suggest(2)
    assert first.position != second.position
    assert (first.acquisition, first.surrogate_version) == ("variance", agent.surrogate_version)
    agent.abandon([first.id, second.id])
    assert agent.suggest()[0].position == first.position


def test_sigma_is_that_of_the_map_there():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=6, candidates=100))
    run(agent, 8)
    before = agent.posterior()
    (out,) = agent.suggest()
    at = int(np.argmin(np.abs(before.positions - SPACE.array(out.position)).sum(axis=1)))
    assert out.sigma == before.sigma[at]
    assert agent.posterior().sigma[at] < out.sigma


def test_what_is_out_is_bounded():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=100, candidates=100))
    out = agent.suggest(1000)
    assert len(out) == MOST_PENDING
    with pytest.raises(CannotSuggest, match=r"64 suggestions are out.*abandon"):
        agent.suggest()
    agent.abandon([out[3].id])
    assert len(agent.suggest(2)) == 1


def test_an_agent_that_is_full_says_so_before_a_point_is_measured_in_vain(monkeypatch):
    monkeypatch.setattr("edge.agent.optimizer.Log", lambda space: Log(space, most=8))
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=4, candidates=100))
    observations = run(agent, 7)  # one more is out
    with pytest.raises(CannotSuggest, match=r"7 observations and 1 suggestions.* full: go on with a new one"):
        agent.suggest()
    agent.ingest([observation("the last", (0.5, 0.5), 1.0, settles="agent-8")])
    with pytest.raises(CannotSuggest, match="8 observations and 0 suggestions"):
        agent.suggest()
    with pytest.raises(ValueError, match="'one too many'"):
        agent.ingest([observation("one too many", (0.5, 0.5), 1.0)])
    assert agent.observations[:7] == tuple(observations)
    assert np.isfinite(agent.posterior().mean).all()


@pytest.mark.parametrize("acquisition", ["sigma_rate", "integrated_variance_rate"])
def test_actuators_that_stop_outside_the_space_do_not_stop_the_agent(acquisition):
    options = Options(start_points=5, candidates=100, points=12, acquisition=acquisition)
    agent = GaussianProcessAgent(SPACE, options=options)
    for at in range(20):
        (out,) = agent.suggest()
        assert ((SPACE.array(out.position) >= SPACE.low) & (SPACE.array(out.position) <= SPACE.high)).all()
        there = {"x": out.position["x"] + 0.3, "y": out.position["y"] - 5.0}
        agent.ingest([Observation(f"o{at}", there, float(at), 0.01, out.id)])
    assert len(agent.observations) == 20
    mean, sigma = reconstruct(SPACE, agent.observations, GRID)
    assert np.isfinite(mean).all()
    assert np.isfinite(sigma).all()
    assert np.isfinite(agent.posterior().sigma).all()


def test_ids_do_not_repeat_those_of_an_earlier_agent():
    agent = GaussianProcessAgent(SPACE)
    agent.ingest([observation("o", (0.5, 0.5), 1.0, settles="agent-1")])
    assert agent.suggest()[0].id == "agent-2"


def test_before_any_training_the_priors_serve():
    agent = GaussianProcessAgent(SPACE, options=FEW)
    assert len(agent.suggest(8)) == 8
    assert np.isfinite(agent.posterior().sigma).all()


def test_a_known_end_is_planned_for_and_there_is_something_beyond_it():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=6, candidates=400, beam_time_s=6.0))
    agent.suggest()  # is never measured: no reason to think that the actuators are there
    kinds, path = [], []
    for at in range(60):
        (out,) = agent.suggest()
        kinds.append(out.acquisition)
        path.append(SPACE.array(out.position))
        (seen,) = measured(path[-1][None], at)
        agent.ingest([Observation(f"o{at}", seen.position, seen.value, seen.variance, out.id)])
    planned = kinds.index("sigma_rate")
    assert kinds[:5] == ["start"] * 5
    assert set(kinds[6:planned]) == {"integrated_variance_tour"}
    assert 5.0 < beam_time(np.array(path[:planned])) < 6.3


def test_positions_given_out_during_training_use_up_their_part_of_the_plan():
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=6, candidates=100, points=30, training="deferred"))
    agent.ingest(measured(SPACE.sobol(6, 0), 0))
    training = agent.training_due()
    assert training is not None
    assert agent.training_due() is None
    agent.suggest(4)
    trained = training.run()
    assert len(trained.tour) == 24
    agent.adopt(trained)
    rest = agent.suggest(21)
    assert [out.acquisition for out in rest] == ["integrated_variance_tour"] * 20 + ["sigma_rate"]


def test_it_beats_a_raster_of_the_same_beam_time_on_a_smooth_anisotropic_map():
    budget = 8.0
    agent = GaussianProcessAgent(SPACE, options=Options(start_points=12, candidates=900, beam_time_s=budget))
    path = [SPACE.array(seen.position) for seen in run(agent, 40)]
    n = max(n for n in range(1, 41) if beam_time(np.array(path[:n])) <= budget)
    adaptive = error(list(agent.observations[:n]))
    raster = snake_raster(SPACE, 5, 5)
    assert beam_time(raster) > 0.9 * budget
    assert adaptive < 0.7 * error(measured(raster, 0))


@pytest.mark.parametrize(
    "wrong",
    [{"acquisition": "luck"}, {"exposure_s": 0.0}, {"beam_time_s": float("nan")}, {"points": MOST_OBSERVATIONS + 1}],
)
def test_options_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)
