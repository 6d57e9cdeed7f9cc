"""What can go wrong on the way to a ready model. Every text is one line: cause, then remedy."""


class ServerError(RuntimeError):
    """The inference server cannot be started, reached or used as it is."""


class RepositoryError(ServerError):
    """A model repository cannot be found, read or assembled."""


class SharedMemoryError(ServerError):
    """A region could not be made; the text says why and what to do."""


class CanaryError(ServerError):
    """A model answered its canary request wrongly, or has no canary: it must not serve."""
