"""What the configuration asks of the inference server: which models, in which variants, run how."""

from pathlib import Path
from typing import Any

from edge import config as configuration
from edge.inference.events import Served
from edge.inference.options import ServerOptions
from edge.models.registry import MODELS


def served(config: configuration.Config) -> tuple[Served, ...]:
    """Every model that a route names, each once, in the variants that its routes take together."""
    wanted: dict[str, set[int]] = {}
    for route in config.route:
        wanted.setdefault(route.model, set()).update(itemsizes(route))
    return tuple(Served(MODELS[name], tuple(sorted(sizes))) for name, sizes in wanted.items())


def itemsizes(route: configuration.RouteConfig) -> tuple[int, ...]:
    """Bytes a pixel that `route` takes."""
    return tuple(sorted({bits // 8 for bits in route.pixel_bits}))


def server_options(config: configuration.Config) -> ServerOptions:
    """How to run a server of our own."""
    options: dict[str, Any] = {"ort_threads": config.server.onnxruntime_threads}
    if config.server.python:
        options["python"] = Path(config.server.python)
    if config.server.log_dir:
        options["log_dir"] = Path(config.server.log_dir)
    return ServerOptions(**options)
