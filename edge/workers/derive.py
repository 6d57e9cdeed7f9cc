"""The configuration of each process of `edge serve --workers`, made from the one that is written. Pure."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from msgspec.structs import replace

from edge.config import Config, ConfigError, Problem, Source
from streams.codecs import PROTOCOLS

NEVER_S = 86400.0
"""The longest time that a configuration can name. Only whoever gathers says that a series is over."""


def check(config: Config) -> None:
    """Refuse what cannot be dealt out to several workers so that their results are those of one.

    Raises:
        ConfigError: naming the setting and what to do.
    """
    found = [problem for at, source in enumerate(config.source) for problem in _problems(source, at)]
    if found:
        raise ConfigError(problems=found)


def _problems(source: Source, at: int) -> Iterator[Problem]:
    one = "or run one process, without --workers"
    if source.bind:
        text = (
            f"cannot be shared by workers: only one process can bind; have the detector bind and connect to it, {one}"
        )
        yield Problem(("source", at, "bind"), text)
    if source.socket != "pull":
        why = "each would get every frame" if source.socket == "sub" else "each would ask for frames of its own"
        text = f"cannot be shared by workers: {why}; have the detector send by PUSH, {one}"
        yield Problem(("source", at, "socket"), text, f'"{source.socket}"')
    traits = PROTOCOLS.get(source.protocol)
    if traits is not None and not traits.unique_id:
        text = (
            "cannot be shared by workers: its messages do not name their series, so workers could not tell which one "
            f"an image is of; use stream-v2, {one}"
        )
        yield Problem(("source", at, "protocol"), text, f'"{source.protocol}"')
    if source.share:
        text = "is set, and so this is one of several workers already; leave it out, or leave --workers out"
        yield Problem(("source", at, "share"), text, f'"{source.share}"')
    if source.positions is not None and source.positions.from_ == "stream":
        text = (
            "positions of a stream are matched by the order of series, and a worker may get nothing of a short one; "
            f"let them travel in the header or in a file, {one}"
        )
        yield Problem(("source", at, "positions", "from"), text, '"stream"')


def of_worker(config: Config, worker: int, workers: int) -> Config:
    """What worker `worker` (from 1) of `workers` runs with. Folders are placed already."""
    recording = config.recording
    if recording.folder:
        folder = str(PurePosixPath(recording.folder) / f"worker-{worker}")
        recording = replace(recording, folder=folder, quota_gib=recording.quota_gib / workers)
    return replace(
        config,
        source=tuple(replace(source, detector_url="") for source in config.source),
        results=replace(config.results, folder="", required_subscribers=()),
        recording=recording,
        metrics=replace(config.metrics, address="127.0.0.1:0"),
        series=replace(config.series, grace_s=NEVER_S, idle_s=NEVER_S),
    )
