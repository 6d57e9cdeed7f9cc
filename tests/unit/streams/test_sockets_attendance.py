"""What the events of a socket monitor add up to; the sequences are those that libzmq 4.3.5 tells."""

import zmq
from hypothesis import given
from hypothesis import strategies as st

from streams.sockets.monitor import Attendance

ACCEPTED, DONE, GONE = zmq.EVENT_ACCEPTED, zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED
AUTH, PROTOCOL = zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
NO_DETAIL = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL


def after(*events: tuple[int, int]) -> Attendance:
    attendance = Attendance()
    for event, value in events:
        attendance.take(event, value)
    return attendance


def test_a_peer_comes_and_goes():
    assert after((ACCEPTED, 7), (DONE, 0)).connected == 1
    assert after((zmq.EVENT_CONNECTED, 7), (DONE, 0), (GONE, 7)).connected == 0


def test_whoever_has_not_shaken_hands_is_not_there():
    assert after((ACCEPTED, 7)).connected == 0


def test_each_reason():
    reasons = {
        (AUTH, 400): "not_allowed",
        (NO_DETAIL, 11): "no_handshake",
        (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): "mechanism",
        (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): "wrong_key",
        (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_UNEXPECTED_COMMAND): "protocol",
    }
    for event, reason in reasons.items():
        attendance = after((ACCEPTED, 7), event, (GONE, 7))
        assert (attendance.refused, attendance.connected) == ({reason: 1}, 0)


def test_what_does_not_even_begin_as_zmtp_does():
    attendance = after((ACCEPTED, 7), (GONE, 7))
    assert (attendance.refused, attendance.connected) == ({"protocol": 1}, 0)


def test_half_open_connections_do_not_hide_a_peer():
    attendance = after((ACCEPTED, 1), (ACCEPTED, 2), (ACCEPTED, 3), (DONE, 0))
    for silent in (1, 2):
        attendance.take(NO_DETAIL, 11)
        attendance.take(GONE, silent)
        assert attendance.connected == 1
    attendance.take(GONE, 3)
    assert (attendance.refused, attendance.connected) == ({"no_handshake": 2}, 0)


def test_the_wrong_one_taken_for_connected_is_put_right():
    attendance = after((ACCEPTED, 1), (ACCEPTED, 2), (DONE, 0))  # it was number 1
    attendance.take(NO_DETAIL, 11)
    attendance.take(GONE, 2)
    assert attendance.connected == 1
    attendance.take(GONE, 1)
    assert (attendance.refused, attendance.connected) == ({"no_handshake": 1}, 0)


def test_a_peer_that_breaks_the_protocol_later():
    attendance = after((ACCEPTED, 1), (DONE, 0), (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC), (GONE, 1))
    assert (attendance.refused, attendance.connected) == ({"wrong_key": 1}, 0)


def test_connections_of_ours_that_zeromq_gives_up():
    ours = (zmq.EVENT_CONNECTED, 7)
    assert not after(ours, (DONE, 0)).given_up
    assert not after((ACCEPTED, 7), (DONE, 0), (GONE, 7)).given_up
    assert after(ours, (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH), (GONE, 7)).given_up
    for trying in (zmq.EVENT_CONNECT_RETRIED, zmq.EVENT_CONNECT_DELAYED, zmq.EVENT_CONNECTED):
        assert not after(ours, (DONE, 0), (GONE, 7), (trying, 100)).given_up


def test_a_socket_that_is_gone_has_no_peers():
    attendance = after((ACCEPTED, 1), (DONE, 0), (ACCEPTED, 2))
    attendance.lost()
    assert attendance.connected == 0
    attendance.take(DONE, 0)
    assert attendance.connected == 0


@given(st.lists(st.tuples(st.sampled_from([ACCEPTED, DONE, GONE, AUTH, PROTOCOL, NO_DETAIL]), st.integers(-1, 5))))
def test_no_order_of_events_confuses_it_for_ever(events: list[tuple[int, int]]):
    attendance = after(*events)
    for fd in range(-1, 6):
        attendance.take(GONE, fd)
    assert attendance.connected == 0
    assert attendance.refused.total() >= sum(event in (AUTH, PROTOCOL, NO_DETAIL) for event, _ in events)
