"""The tests mirror the rooms of torpydo. Only tests/integration has sockets and processes.

Hypothesis draws the same examples every time, so that a failure is the change's fault. ``HYPOTHESIS_PROFILE=nightly``
looks for new ones.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile(
    "nightly", derandomize=False, deadline=None, max_examples=5000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
