"""Files and folders that a configuration names: whether they are there. Looks, and changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

from edge.conditioning.files import split
from edge.conditioning.settings import HEADER
from edge.config.addresses import split_host
from edge.config.problems import Problem
from edge.config.tables import Config, Source
from edge.http.access import access_for
from edge.positions.settings import varying_part
from streams.sockets import SocketError
from streams.sockets.keys import KeysError, read_keys

CONDITIONING = ("mask", "flatfield", "pedestal", "gain", "geometry")
"""Settings of `[source.conditioning]` that name a file."""


def absent(config: Config) -> Iterator[Problem]:
    """What is named and cannot be used. `config` has its output folders filled in."""
    for at, source in enumerate(config.source):
        yield from _of_source(source, at)
    if config.server.python and not os.access(config.server.python, os.X_OK):
        yield Problem(("server", "python"), "is no program that can be run; name the python of an environment")
    if config.server.models and not Path(config.server.models).is_dir():
        yield Problem(("server", "models"), "there is no such folder; make it, or mount the disk that it is on")
    if config.security.keys:
        try:
            read_keys(config.security.keys)
        except KeysError as error:
            yield Problem(("security", "keys"), str(error))
    for name in ("tls_certificate", "tls_key"):
        yield from _file(getattr(config.security, name), ("security", name), "`edge keys tls` makes both")
    if config.security.keys:  # without, `edge.config.policy` has refused the address
        yield from _of_metrics(config)
    for table in ("results", "recording", "agent"):
        yield from _folder(getattr(config, table).folder, table)


def _of_source(source: Source, at: int) -> Iterator[Problem]:
    if source.conditioning is not None:
        for name in CONDITIONING:
            where = getattr(source.conditioning, name)
            if where != HEADER:
                file = str(split(where)[0]) if where else ""
                yield from _file(file, ("source", at, "conditioning", name), "name it as FILE or FILE:DATASET")
    positions = source.positions
    if positions is not None and positions.from_ == "file":
        folder = Path(positions.file.removesuffix(varying_part(positions.file)) or ".")
        folder = folder if varying_part(positions.file) else folder.parent
        if not folder.is_dir():
            yield Problem(("source", at, "positions", "file"), f"there is no folder {folder}; make it, or change this")


def _of_metrics(config: Config) -> Iterator[Problem]:
    """Beyond this machine: certificate, its key and a token."""
    host, _ = split_host(config.metrics.address) or ("127.0.0.1", 0)
    security = config.security
    try:
        access_for(host, "", security.keys, security.tls_certificate, security.tls_key)
    except SocketError as error:
        yield Problem(("metrics", "address"), str(error).removeprefix(": "))


def _file(name: str, steps: tuple[str | int, ...], remedy: str) -> Iterator[Problem]:
    if not name:
        return
    try:
        with open(name, "rb"):
            pass
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        yield Problem(steps, f"cannot be read: {said}; {remedy}")


def _folder(name: str, table: str) -> Iterator[Problem]:
    """It is made when it is needed, so the nearest one that is there counts."""
    if not name:
        return
    there = next(folder for folder in (Path(name), *Path(name).parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield Problem((table, "folder"), f"nothing can be written in {there}; make it writable, or change this")
