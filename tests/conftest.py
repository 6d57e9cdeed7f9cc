"""What all tests share."""

from hypothesis import settings

# No test is a matter of time: a busy machine must not fail one.
settings.register_profile("edge", deadline=None)
settings.load_profile("edge")
