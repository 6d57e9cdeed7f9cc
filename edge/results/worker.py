"""The child of `edge.results.builder`: reads paths of logs, a JSON string a line; answers each with a JSON object."""

import json
import os
import signal
import sys
from pathlib import Path

from edge.results.build import build, remove_log
from edge.results.errors import ResultFileError

NICENESS = 10
"""Serving comes first."""


def main() -> None:
    """Until the input closes; a file that is being built then is finished."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    for line in sys.stdin:
        log = Path(json.loads(line))
        try:
            built = build(log)
            answer = {"file": str(built.file), "verdict": built.verdict, "stored": built.stored}
            if built.verdict == "complete":
                remove_log(log, built.log_bytes)
        except ResultFileError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
