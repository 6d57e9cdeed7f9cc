"""One line an event, whatever somebody else's message says."""

import logging
from typing import Any

FORMAT = "%(asctime)s %(levelname)-7s %(message)s"
CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
# Line ends of Unicode (UAX 14), and what turns the direction of writing (UAX 9).
CONTROL |= {code: f"\\u{code:04x}" for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}


class OneLine(logging.Formatter):
    """Escapes control characters: a name that came over the wire must not forge a line of the log or move the cursor
    of the terminal that shows it. Tracebacks keep their lines.
    """

    def formatException(self, ei: Any) -> str:
        return super().formatException(ei).translate({**CONTROL, ord("\n"): "\n"})

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.translate(CONTROL).encode("utf-8", "backslashreplace").decode()
        return super().formatMessage(record)


def start(level: int) -> None:
    """Log to standard error from `level` on."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine(FORMAT, datefmt="%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler])
    for noisy in ("matplotlib", "h5py", "PIL", "asyncio", "bluesky", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
