"""What is wrong with a conditioning: a file, a setting, or frames that do not fit them."""


class ConditioningError(ValueError):
    """The text names the file or setting, what was found, and what is expected."""
