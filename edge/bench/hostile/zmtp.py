"""Bytes of ZMTP 3.1 as a peer of ours says them, right or wrong (rfc.zeromq.org/spec/37). Pure."""

import struct

SIGNATURE = b"\xff" + bytes(8) + b"\x7f"
MORE, LONG, COMMAND = 1, 2, 4


def greeting(mechanism: bytes = b"NULL", version: tuple[int, int] = (3, 1), as_server: bool = False) -> bytes:
    """The 64 bytes that open a connection."""
    return SIGNATURE + bytes(version) + mechanism.ljust(20, b"\0")[:20] + bytes([as_server]) + bytes(31)


def frame(body: bytes, flags: int = 0, length: int | None = None) -> bytes:
    """A frame; `length` is what its head claims."""
    length = len(body) if length is None else length
    if length > 255 or flags & LONG:
        return bytes([flags | LONG]) + struct.pack(">Q", length) + body
    return bytes([flags, length]) + body


def command(name: bytes, body: bytes = b"") -> bytes:
    """A command."""
    return frame(bytes([len(name)]) + name + body, COMMAND)


def ready(kind: bytes, more: bytes = b"") -> bytes:
    """The command that ends the greeting of the mechanism NULL: we are a socket of this kind."""
    return command(b"READY", prop(b"Socket-Type", kind) + prop(b"Identity", b"") + more)


def prop(name: bytes, value: bytes, length: int | None = None) -> bytes:
    """A property of a command; `length` is what it claims of its value."""
    return bytes([len(name)]) + name + struct.pack(">I", len(value) if length is None else length) + value


def message(*parts: bytes) -> bytes:
    """One message whole."""
    return b"".join(frame(part, MORE if at < len(parts) - 1 else 0) for at, part in enumerate(parts))


def opening(kind: bytes) -> bytes:
    """All that a peer says before its first message."""
    return greeting() + ready(kind)
