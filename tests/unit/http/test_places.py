import threading

from edge.http.places import Places


class Waiting:
    """A connection that goes when it is told to; `since` is how long its peer has been waited for."""

    def __init__(self, places: Places, since: float | None) -> None:
        self.waiting_since, self.interrupted, self.deaf = since, False, False
        self._places = places

    def interrupt(self) -> None:
        self.interrupted = True
        threading.Thread(target=self._places.leave, args=(self,)).start()  # as its own thread would

    def deafen(self) -> None:
        self.deaf = True


def taken(places: Places, *since: float | None) -> list[Waiting]:
    connections = [Waiting(places, each) for each in since]
    for connection in connections:
        assert places.take(connection) == (True, None)
    return connections


def test_the_one_that_waits_longest_makes_room():
    places = Places(3)
    first, oldest, busy = taken(places, 5.0, 1.0, None)
    late = Waiting(places, 9.0)
    assert places.take(late) == (True, oldest)
    assert oldest.interrupted and not (first.interrupted or busy.interrupted or late.interrupted)
    assert places.take(Waiting(places, 10.0)) == (True, first)
    assert places.take(Waiting(places, 11.0)) == (True, late)


def test_whoever_is_being_answered_stays():
    places = Places(2)
    busy = taken(places, None, 1.0)
    places.answering(busy[1])
    assert places.take(Waiting(places, 9.0)) == (False, None)
    places.waiting(busy[0])
    assert places.take(Waiting(places, 9.0)) == (True, busy[0])


def test_a_place_that_was_left_is_free():
    places = Places(1)
    (one,) = taken(places, 1.0)
    places.leave(one)
    taken(places, 2.0)
    assert not one.interrupted


def test_at_the_end_nobody_is_listened_to_and_nobody_interrupted():
    places = Places(2)
    both = taken(places, None, 1.0)
    places.deafen()
    assert all(each.deaf and not each.interrupted for each in both)
