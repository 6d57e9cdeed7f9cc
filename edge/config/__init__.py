"""`edge.toml`: what `edge serve` takes in, runs and sends out. Every setting is explained in edge/README.md."""

from edge.config.addresses import check_address, check_url, host_and_port
from edge.config.loading import load, load_placed, parse
from edge.config.outputs import placed, with_proposal
from edge.config.problems import ConfigError, Problem
from edge.config.tables import (
    Agent,
    Config,
    Data,
    Metrics,
    Recording,
    Results,
    RouteConfig,
    Security,
    SeriesTimes,
    Server,
    Source,
    Up,
)

__all__ = [
    "Agent",
    "Config",
    "ConfigError",
    "Data",
    "Metrics",
    "Problem",
    "Recording",
    "Results",
    "RouteConfig",
    "Security",
    "SeriesTimes",
    "Server",
    "Source",
    "Up",
    "check_address",
    "check_url",
    "host_and_port",
    "load",
    "load_placed",
    "parse",
    "placed",
    "with_proposal",
]
