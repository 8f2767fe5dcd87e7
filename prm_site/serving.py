"""Serve the pages on this machine: for `demo` and `view`."""

import json
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from common.errors import UserError
from common.places import CODE_DIR, module_command
from prm_site.services import processes


class SiteError(UserError):
    """The pages cannot be served; the message is one line."""


def serve_site(base_dir: Path, port: int, welcome: Callable[[str], None]) -> NoReturn:
    """Serve the pages until interrupted. Call `welcome` with their address when the site answers.

    If the port is in use, another free one is taken.

    Raises:
        SiteError: the server ended by itself.
    """
    port = processes.free_port(port)
    command = module_command(
        "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port), "--no-ws",
        "--blocking-threads", "3", "--backpressure", "512", "--log-level", "warning",
        # Where granian looks for modules. Its default is the current folder, with unknown files.
        "--working-dir", str(CODE_DIR), "prm_site.wsgi:application",
    )  # fmt: skip
    child = processes.start(command, cwd=base_dir)
    try:
        while child.poll() is None and not _accepts(port):
            time.sleep(0.2)
        if child.poll() is None:
            welcome(f"http://127.0.0.1:{port}")
        status = child.wait()
    finally:
        processes.stop(child)
    raise SiteError(f"the site ended with status {status}")


def demo_login(base_dir: Path) -> dict[str, str]:
    """Return the demo user's name and password; the first call makes the user.

    Raises:
        SiteError: the user cannot be made.
    """
    done = subprocess.run(  # noqa: S603
        module_command("prm_site", "demo_user"),
        cwd=base_dir,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SiteError(f"the demo user cannot be made: {done.stderr.strip()}")
    login: dict[str, str] = json.loads(done.stdout)
    return login


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
