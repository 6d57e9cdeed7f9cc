"""A small service that speaks the notify protocol and misbehaves as told: `python toy_service.py LEDGER BEHAVIOUR,...`.

Each start appends a line to LEDGER and behaves as the next BEHAVIOUR says; the last one stands for all later starts.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from edge.supervision.notify import Notifier

LIE = "import socket, os; s = socket.socket(1, 2); s.sendto(b'READY=1', os.environ['NOTIFY_SOCKET'])"
ORPHAN = "import time; time.sleep({})"


def main(ledger: Path, behaviours: list[str]) -> int:
    with ledger.open("a") as file:
        file.write(f"{os.getpid()}\n")
    starts = len(ledger.read_text().splitlines())
    behaviour = behaviours[min(starts, len(behaviours)) - 1]
    notifier = Notifier()
    stop = threading.Event()
    if behaviour == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: stop.set())
        threading.Thread(target=at_eof, args=(stop,), daemon=True).start()
    if behaviour in ("crash", "usage", "config"):
        sys.stderr.write(f"Error: told to {behaviour}\n")
        return {"crash": 1, "usage": 2, "config": os.EX_CONFIG}[behaviour]
    if behaviour == "family":
        subprocess.Popen([sys.executable, "-c", ORPHAN.format(1000)])
        subprocess.Popen([sys.executable, "-c", ORPHAN.format(0.5)], start_new_session=True)
    if behaviour == "liar":
        subprocess.run([sys.executable, "-c", LIE], check=True)
    if behaviour not in ("never", "liar"):
        os.write(2, b"12:00:00 WARNING  a warning \x1b[2J of the toy\n")
        os.write(1, json.dumps({"address": f"tcp://127.0.0.1:{9000 + starts}"}).encode() + b"\n")
        notifier.status("at work")
        notifier.ready()
    while not stop.wait(0.05):
        if behaviour != "mute":
            notifier.beat()
    notifier.stopping()
    if behaviour == "slow":
        time.sleep(1.0)
    return 0


def at_eof(stop: threading.Event) -> None:
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2].split(",")))
