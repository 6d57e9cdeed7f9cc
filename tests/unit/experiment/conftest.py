import pytest

from tests.unit.experiment.beamline import run_engine


@pytest.fixture
def engine():
    with run_engine() as made:
        yield made
