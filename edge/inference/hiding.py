"""Takes a secret out of the command line of a process of ours: every user of the machine can read that in /proc.

Triton takes the token for its restricted calls in no other way, and whoever has it can make the server run code. What
`ps` shows lies in the process's own memory, where the program itself may write to it; so may whoever may trace it.
"""

from pathlib import Path

PROC = Path("/proc")
ARGUMENTS = (48, 49)
"""Numbers of the fields `arg_start` and `arg_end` in /proc/PID/stat: proc(5)."""
AFTER_NAME = 3
"""Number of the first field behind the name, which may hold anything."""


def hide(secret: str, pid: int) -> bool:
    """Overwrite `secret` in the command line of `pid`, which has read it. False where it still shows."""
    cmdline = PROC / str(pid) / "cmdline"
    try:
        start, end = _arguments(pid)
        with open(PROC / str(pid) / "mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            text = memory.read(end - start)
            at = text.find(secret.encode())
            while at >= 0:
                memory.seek(start + at)
                memory.write(b"*" * len(secret))
                at = text.find(secret.encode(), at + 1)
        return secret.encode() not in cmdline.read_bytes()
    except OSError:
        return False


def _arguments(pid: int) -> tuple[int, int]:
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    start, end = (int(fields[at - AFTER_NAME]) for at in ARGUMENTS)
    if not 0 < start < end:  # 0: we may not trace it
        raise OSError(f"process {pid} does not show its memory")
    return start, end
