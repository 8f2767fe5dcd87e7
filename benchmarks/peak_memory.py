"""The most memory that this process has taken, as Linux knows it."""

from pathlib import Path


def forget_most_memory() -> None:
    """Begin anew: what was taken before counts no more (see proc_pid_clear_refs(5))."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def most_mebibytes() -> float:
    """Return it in MiB; `ru_maxrss` would begin with what the parent process had taken."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.partition("VmHWM:")[2].split()[0]) / 1024, 1)
