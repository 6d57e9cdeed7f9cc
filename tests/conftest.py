"""What all tests share."""

from hypothesis import HealthCheck, settings

# No test is a matter of time: a busy machine must not fail one.
settings.register_profile("edge", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("edge")
