import gc
import sys

import pytest

from edge.experiment.responsive import SWITCH_S, responsive


def test_what_was_made_before_is_not_looked_through_again():
    made_before = [[]]
    assert any(one is made_before for one in gc.get_objects())
    with responsive():
        made_within = [[]]
        assert gc.get_freeze_count() > 1000
        assert not any(one is made_before for one in gc.get_objects())
        assert any(one is made_within for one in gc.get_objects())
    assert gc.get_freeze_count() == 0


def test_threads_hand_over_sooner_and_only_within():
    before = sys.getswitchinterval()
    with pytest.raises(KeyError), responsive():
        assert sys.getswitchinterval() == pytest.approx(SWITCH_S)
        raise KeyError
    assert sys.getswitchinterval() == before
