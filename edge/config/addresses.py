"""Addresses in settings and options: what can be used, and what needs protection. Pure."""

import re
from urllib.parse import urlsplit

from edge.config.problems import ConfigError
from streams.sockets import beyond_loopback

NUMBER = re.compile(r"[0-9]{1,5}")
"""Of a port. Python refuses to read numbers of thousands of digits."""


def zmq_fault(address: str) -> str:
    """Why this is no ZeroMQ TCP address, and what to write; empty where it is one."""
    scheme, _, rest = address.partition("://")
    if scheme != "tcp":
        return "is no address; write tcp://HOST:PORT"
    host, _, port = rest.rpartition(":")
    if not host or not (port == "*" or (NUMBER.fullmatch(port) and 0 < int(port) < 65536)):
        return "has no valid port; write tcp://HOST:PORT with a port up to 65535"
    if not (address.isascii() and address.isprintable()) or " " in address:
        return "holds blanks, control characters or letters beyond ASCII; write tcp://HOST:PORT"
    return ""


def url_fault(url: str) -> str:
    """Why this is neither empty nor http://HOST or http://HOST:PORT; empty where it is."""
    scheme, _, rest = url.partition("://")
    try:
        split = urlsplit(f"//{rest.rstrip('/')}")
        good = scheme == "http" and split.hostname and split.port != 0 and not (split.path or split.username)
    except ValueError:
        good = False
    return "" if good or not url else "is no address of a detector; write http://HOST or http://HOST:PORT"


def check_address(address: str, setting: str) -> None:
    """Refuse what is no ZeroMQ TCP address.

    Raises:
        ConfigError: naming `setting`.
    """
    if fault := zmq_fault(address):
        raise ConfigError(f"{setting}: {address!r} {fault}")


def check_url(url: str, setting: str) -> None:
    """Refuse what is neither empty nor http://HOST or http://HOST:PORT.

    Raises:
        ConfigError: naming `setting`.
    """
    if fault := url_fault(url):
        raise ConfigError(f"{setting}: {url!r} {fault}")


def host_and_port(address: str, setting: str) -> tuple[str, int]:
    """Split HOST:PORT.

    Raises:
        ConfigError: naming `setting`.
    """
    found = split_host(address)
    if found is None:
        raise ConfigError(f"{setting}: {address!r} is not HOST:PORT")
    return found


def split_host(address: str) -> tuple[str, int] | None:
    """Host and port of HOST:PORT; None where it is something else."""
    try:
        parts = urlsplit(f"//{address}")
        port = parts.port
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port is not None else None


def host_beyond_loopback(host: str) -> bool:
    """Whether others than this machine can reach a server on `host`."""
    return beyond_loopback(f"tcp://{f'[{host}]' if ':' in host else host}:1")
