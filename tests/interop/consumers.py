"""The programs that read exported datasets, and the environment of each."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.backends.environments import ensure_environment

REQUIREMENTS = Path(__file__).with_name("requirements")
READERS = Path(__file__).with_name("readers")


@dataclass(frozen=True, slots=True)
class Consumer:
    """A program with an environment of its own."""

    key: str
    """Name of its requirements and of its environment, unless it uses another one."""
    name: str
    package: str
    reader: str
    """Name of the script that runs it, in `readers`."""
    stand_ins: Sequence[str] = ()
    """Modules that it imports at its start, but that need a GPU or are not needed for texts."""
    checkout: str = ""
    """Variable that names a checkout of its source, for a program that no registry has."""
    environment: str = ""
    """Key of another program, if this one uses the environment of the other."""

    @property
    def version(self) -> str:
        """The pinned version; empty for a program that no registry has."""
        pins = [
            pin
            for file in (f"{self.key}.txt", f"{self.key}-bare.txt")
            if (REQUIREMENTS / file).is_file()
            for pin in (REQUIREMENTS / file).read_text().splitlines()
        ]
        return next(
            (pin.partition("==")[2] for pin in pins if pin.startswith(f"{self.package}==")), ""
        )

    def python(self, folder: Path) -> Path:
        """Return the Python of its environment; make the environment if there is none.

        All environments share one PyTorch, the largest package by far.

        Raises:
            PreparationError: a package cannot be installed.
        """
        base = ensure_environment(folder, "base", requirements=REQUIREMENTS)
        name = self.environment or self.key
        return ensure_environment(
            folder, name, (), self.stand_ins, requirements=REQUIREMENTS, base=base
        )

    def commit(self) -> str:
        """Return the short commit of its checkout; empty without a checkout."""
        source = os.environ.get(self.checkout) if self.checkout else None
        if not source:
            return ""
        asked = ["git", "-C", source, "rev-parse", "--short=7", "HEAD"]
        return subprocess.run(asked, capture_output=True, check=False, text=True).stdout.strip()


_GPU_ONLY = ("bitsandbytes", "triton")

CONSUMERS = {
    one.key: one
    for one in (
        Consumer("trl", "TRL", "trl", "read_trl.py"),
        Consumer("trl_prm", "TRL", "trl", "read_trl.py"),
        Consumer("axolotl", "axolotl", "axolotl", "read_axolotl.py", _GPU_ONLY),
        Consumer("ms_swift", "ms-swift", "ms-swift", "read_ms_swift.py"),
        Consumer(
            "llama_factory",
            "LLaMA-Factory",
            "llamafactory",
            "read_llama_factory.py",
            ("torchaudio",),
        ),
        Consumer(
            "openrlhf", "OpenRLHF", "openrlhf", "read_openrlhf.py", ("deepspeed", "flash_attn")
        ),
        Consumer(
            "openrlhf_prm", "OpenRLHF", "openrlhf", "read_openrlhf.py", ("deepspeed", "flash_attn")
        ),
        Consumer("verl", "verl", "verl", "read_verl.py"),
        Consumer(
            "fapo",
            "FAPO of verl-recipe",
            "",
            "read_verl.py",
            checkout="VERL_RECIPE",
            environment="verl",
        ),
        Consumer("nemo_rl", "NeMo-RL", "nemo-rl", "read_nemo_rl.py", checkout="NEMO_RL"),
        Consumer("verifiers", "verifiers", "verifiers", "read_verifiers.py"),
    )
}
