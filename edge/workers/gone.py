"""Whether a process of this machine is still there: by a descriptor that names it for ever, not by its number."""

import os
import select


class Watched:
    """A process, from now on. One that cannot be found is gone."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._descriptor: int | None = os.pidfd_open(pid)
        except OSError:
            self._descriptor = None

    @property
    def gone(self) -> bool:
        """Whether it has ended; see pidfd_open(2)."""
        if self._descriptor is None:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        if not poll.poll(0):
            return False
        self.close()
        return True

    def close(self) -> None:
        """Stop watching."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
