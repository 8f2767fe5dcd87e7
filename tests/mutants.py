"""Pytest plugin of `make mutants`: property tests give the same result each time they run."""

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
