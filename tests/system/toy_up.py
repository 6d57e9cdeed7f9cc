"""`edge up` with services of a test's own: `python -m tests.system.toy_up FOLDER SERVICES.json`."""

import sys
from pathlib import Path

import msgspec

from edge.supervision.machine import Service
from edge.supervision.record import Record
from edge.supervision.runfolder import RunFolderError
from edge.supervision.runner import supervise
from edge.supervision.voice import Voice

if __name__ == "__main__":
    folder, described = Path(sys.argv[1]), Path(sys.argv[2])
    services = msgspec.json.decode(described.read_bytes(), type=list[Service])
    voice = Voice(1, as_json=True)
    try:
        code, reason = supervise(services, folder, voice, Record(folder, "toys"), parent=0)
    except RunFolderError as error:
        sys.exit(str(error))
    voice.end(code, reason)
    voice.flush(1.0)
    sys.exit(code)
