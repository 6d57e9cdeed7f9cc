"""Who may be spoken to in plain: a function of the address, the keys and what the caller asked for. No socket."""

from ipaddress import ip_address
from typing import Literal, TypeAlias

from streams.sockets.errors import SocketError
from streams.sockets.keys import Keys

Security: TypeAlias = Literal["plain", "curve"]


TRANSPORTS = ("tcp", "ipc", "inproc")
"""Others are never used: on multicast, ZeroMQ would leave encryption out without a word."""


def security(verb: Literal["bind", "connect"], address: str, keys: Keys | None, plain: bool) -> Security:
    """How a connection at `address` is protected: by CURVE, or not at all.

    Args:
        verb: what is about to be done there.
        keys: those of the context.
        plain: whether the caller knows that the peer cannot encrypt.

    Raises:
        SocketError: others than this machine could reach or read it, and nothing protects it; a client's keys were to
            receive other clients; or it is no address.
    """
    if address.partition("://")[0] not in TRANSPORTS or not address.isprintable():
        # ZeroMQ reads no further than a NUL: what was looked at behind it would not be where it goes
        raise SocketError(f"cannot {verb} {address!r}: that is no address of ours; write tcp://HOST:PORT")
    if plain:
        return "plain"
    if keys is not None:
        if verb == "bind" and not keys.serves:
            raise SocketError(
                f"cannot bind {address}: {keys.folder} holds a client's keys, and only the service's own folder says "
                "who may connect; name that one (`edge keys new` made it), or connect instead"
            )
        return "curve"
    if beyond_loopback(address):
        raise SocketError(
            f"cannot {verb} {address} without keys: others than this machine can reach it; name a folder of keys "
            "(`edge keys new` makes one; security.keys or --keys names it), use 127.0.0.1, or, where the other end "
            "cannot encrypt, say so (plain = true, or --plain)"
        )
    return "plain"


def beyond_loopback(address: str) -> bool:
    """Whether others than this machine could reach or read what is said at `address`.

    Names are not resolved, for an answer of the network proves nothing; only `localhost` is taken at its word.
    """
    transport, _, rest = address.partition("://")
    if transport in ("inproc", "ipc"):
        return False
    if transport != "tcp":
        return True
    host = rest.rpartition(";")[2].rpartition(":")[0].strip("[]")  # what stands before `;` is where it comes from
    if host == "localhost":
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return True
