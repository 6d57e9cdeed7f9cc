"""Which sockets send heartbeats: libzmq 4.3.5 may abort the process of one that does where many messages wait."""

from streams.sockets import context, dealer, publish, router
from streams.sockets.socket import HEARTBEAT_MS, SILENCE_MS


def test_whoever_answers_many_sends_none_and_is_told_by_its_peers_for_how_long_to_wait():
    with context() as ctx:
        answering, asking = router(ctx), dealer(ctx)
        assert answering.zmq.heartbeat_ivl == 0
        assert answering.zmq.tcp_keepalive == 1
        assert (asking.zmq.heartbeat_ivl, asking.zmq.heartbeat_ttl) == (HEARTBEAT_MS, SILENCE_MS)
        answering.close()
        asking.close()


def test_ends_that_watch_each_other_otherwise_send_none():
    with context() as ctx:
        asking = dealer(ctx, heartbeats=False)
        assert (asking.zmq.heartbeat_ivl, asking.zmq.heartbeat_ttl) == (0, 0)
        asking.close()


def test_subscribers_send_none_so_results_are_sent_with_some():
    with context() as ctx:
        publisher = publish(ctx)
        assert publisher.zmq.heartbeat_ivl == HEARTBEAT_MS
        publisher.close()
