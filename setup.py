"""What pyproject.toml cannot say: the top-level folder `templates` is installed in `prm_site`."""

from setuptools import find_packages, setup

ROOTS = (
    "common", "experiment_configs", "forests", "metrics", "preferences", "prm_site", "rollouts",
)  # fmt: skip

setup(
    packages=[
        *find_packages(include=[pattern for name in ROOTS for pattern in (name, f"{name}.*")]),
        "prm_site.templates",
    ],
    package_dir={"prm_site.templates": "templates"},
    package_data={
        **{name: ["py.typed"] for name in ROOTS},
        "prm_site": ["py.typed", "static/**/*"],
        "prm_site.templates": ["**/*.html"],
    },
    include_package_data=False,
)
