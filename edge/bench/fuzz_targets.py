"""All readers that `edge bench fuzz` tries."""

from edge.bench import fuzz_files, fuzz_messages
from edge.bench.fuzz_target import Target


def targets() -> dict[str, Target]:
    """All of them by name."""
    return fuzz_messages.targets() | fuzz_files.targets()
