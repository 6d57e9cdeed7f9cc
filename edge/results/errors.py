"""What can go wrong with result files."""


class ResultFileError(RuntimeError):
    """A result file, a log or their folder cannot be used; the text says which, why, and what to do."""
