"""What must not be spoken in plain beyond this machine: found when the configuration is read. Pure.

The sockets refuse the same once more when they are opened (`streams.sockets.policy`, `edge.http.access`).
"""

from collections.abc import Iterator
from urllib.parse import urlsplit

from edge.config.addresses import host_beyond_loopback, split_host, zmq_fault
from edge.config.problems import Problem
from edge.config.tables import Config, Source
from streams.sockets import beyond_loopback

KEYS = "make keys with `edge keys new` and name their folder in security.keys"


def exposures(config: Config) -> Iterator[Problem]:
    """Addresses that other machines reach, and that nothing protects."""
    keys = config.security.keys
    if bool(config.security.tls_certificate) != bool(config.security.tls_key):
        lacking = "tls_key" if config.security.tls_certificate else "tls_certificate"
        yield Problem(("security", lacking), "is empty, and the other half is given; name both, or neither")
    if keys:
        yield from _detectors_with_keys(config)
        return
    served = {
        ("results", "publish"): config.results.publish,
        ("results", "handshake"): config.results.handshake,
        ("agent", "listen"): config.agent.listen,
    }
    for steps, address in served.items():
        if _leaves(address):
            yield Problem(steps, f"others than this machine can reach it, unencrypted; {KEYS}, or use 127.0.0.1")
    for at, source in enumerate(config.source):
        yield from _of_source(source, at)
    if (found := split_host(config.metrics.address)) and host_beyond_loopback(found[0]):
        yield Problem(
            ("metrics", "address"),
            f"others than this machine can reach it; {KEYS}, then `edge keys tls` and `edge keys token` make what it "
            "needs, or use 127.0.0.1",
        )


def _of_source(source: Source, at: int) -> Iterator[Problem]:
    """A sender with keys is ours (`edge tee`, `edge replay`); a detector and a position box cannot encrypt."""
    remedy = f"if the sender cannot encrypt, set plain = true and keep the network between to the two; else {KEYS}"
    if _leaves(source.address) and not source.plain:
        yield Problem(("source", at, "address"), f"is beyond this machine, unencrypted; {remedy}")
    positions = source.positions
    if positions is not None and _leaves(positions.address) and not positions.plain:
        yield Problem(("source", at, "positions", "address"), f"is beyond this machine, unencrypted; {remedy}")


def _detectors_with_keys(config: Config) -> Iterator[Problem]:
    """A stream that comes from the detector itself: with keys it would be waited for in vain."""
    for at, source in enumerate(config.source):
        found = split_host(source.address.removeprefix("tcp://"))
        if not source.plain and found and found[0] == urlsplit(source.detector_url).hostname:
            yield Problem(
                ("source", at, "plain"),
                "a detector cannot encrypt, and with security.keys every socket does; set plain = true",
            )


def _leaves(address: str) -> bool:
    return bool(address) and not zmq_fault(address) and beyond_loopback(address)
