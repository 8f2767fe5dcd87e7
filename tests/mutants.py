"""Pytest plugin of `make mutants`: property tests that say the same at each run of a process."""

import hypothesis

# Mutmut runs the same test functions several times in one process.
hypothesis.settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("mutants")
