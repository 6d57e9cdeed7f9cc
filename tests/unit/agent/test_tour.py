from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.agent.tour import shortest_path


def distances(points: np.ndarray) -> np.ndarray:
    return np.abs(points[:, None] - points[None]).max(axis=-1)


def length(cost: np.ndarray, order) -> float:
    order = list(order)
    return float(cost[order[:-1], order[1:]].sum())


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6), st.booleans())
def test_few_points_are_joined_by_a_shortest_path(n, seed, fixed):
    cost = distances(np.random.default_rng(seed).uniform(size=(n, 2)))
    start = n - 1 if fixed else None
    order = shortest_path(cost, start)
    assert sorted(order) == list(range(n))
    tried = (way for way in permutations(range(n)) if start is None or way[0] == start)
    best = min(length(cost, way) for way in tried)
    assert length(cost, order) <= 1.1 * best + 1e-12
    if fixed:
        assert order[0] == start


@pytest.mark.parametrize("start", [None, 3])
@pytest.mark.parametrize("n", [2, 3, 9, 30])
def test_points_that_coincide_end_the_search(n, start):
    start = None if start is None else min(start, n - 1)
    assert sorted(shortest_path(np.zeros((n, n)), start)) == list(range(n))
    twice = distances(np.repeat(np.random.default_rng(0).uniform(size=(n, 2)), 2, axis=0))
    assert sorted(shortest_path(twice, start)) == list(range(2 * n))


def test_a_line_is_walked_from_end_to_end():
    places = np.random.default_rng(2).permutation(40)
    order = shortest_path(distances(places[:, None].astype(float)))
    assert length(distances(places[:, None].astype(float)), order) == 39


def test_a_lattice_is_walked_in_steps_of_one():
    points = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2)
    cost = distances(points[np.random.default_rng(0).permutation(64)])
    assert length(cost, shortest_path(cost)) == 63


def test_kicks_shorten_it_and_the_same_points_give_the_same_path():
    cost = distances(np.random.default_rng(3).uniform(size=(80, 2)))
    order = shortest_path(cost)
    assert order == shortest_path(cost)
    assert length(cost, order) < length(cost, shortest_path(cost, kicks=0))
