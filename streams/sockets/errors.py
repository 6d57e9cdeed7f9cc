"""Why there is no socket."""


class SocketError(RuntimeError):
    """A socket could not be opened; the text says why and what to do."""


class KeysError(SocketError):
    """The keys that a socket is to encrypt with cannot be used; the text says why and what to do."""
