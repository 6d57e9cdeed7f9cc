"""What the configuration asks of the inference server: which models, in which variants, run how."""

import logging
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edge import config as configuration
from edge.inference.events import Served
from edge.inference.options import ServerOptions, cache_folder
from edge.inference.own import foreign, snapshot
from edge.inference.repository import SHIPPED
from edge.models.registry import MODELS

LOG = logging.getLogger(__name__)


def served(config: configuration.Config) -> tuple[Served, ...]:
    """Every model that a route names, each once, in the variants that its routes take together."""
    wanted: dict[str, set[int]] = {}
    for route in config.route:
        wanted.setdefault(route.model, set()).update(itemsizes(route))
    return tuple(Served(MODELS[name], tuple(sorted(sizes))) for name, sizes in wanted.items())


def itemsizes(route: configuration.RouteConfig) -> tuple[int, ...]:
    """Bytes a pixel that `route` takes."""
    return tuple(sorted({bits // 8 for bits in route.pixel_bits}))


def models_source(config: configuration.Config) -> Path:
    """The folder with the versions that serve: that of the shipped models, or a copy of what `server.models` says now.

    Called once by a process, and by one for all that work together: a version that comes later is for the next start.
    Raises RepositoryError.
    """
    if not config.server.models:
        return SHIPPED
    own = Path(config.server.models)
    for name in foreign(own, list(MODELS)):
        LOG.warning("%s: no model is called so: it is ignored; there are %s", own / name, ", ".join(sorted(MODELS)))
    return snapshot(tuple(each.spec for each in served(config)), own.absolute(), cache_folder())


def with_models(config: configuration.Config, models: Path | None) -> configuration.Config:
    """The configuration with another folder for models of one's own; None: the one that it names."""
    if models is None:
        return config
    return replace(config, server=replace(config.server, models=str(models)))


def server_options(config: configuration.Config) -> ServerOptions:
    """How to run a server of our own."""
    options: dict[str, Any] = {"ort_threads": config.server.onnxruntime_threads}
    if config.server.python:
        options["python"] = Path(config.server.python)
    if config.server.log_dir:
        options["log_dir"] = Path(config.server.log_dir)
    return ServerOptions(**options)
