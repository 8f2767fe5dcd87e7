"""`manage.py` commands as processes of their own, which start in a fifth of the processor time.

All are forked from one process that has already imported the third-party libraries, and only those.
A command reads our own modules and the settings after the fork, from its own environment. Tests of
how a process starts use `subprocess` instead.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[1]

_LIBRARIES = (
    "aiohttp", "asyncio", "axes.handlers", "croniter", "django.contrib.admin.views.main",
    "django.contrib.auth.hashers", "django.contrib.messages", "django.contrib.staticfiles.apps",
    "django.core.management", "django.db.backends.base.base", "django.db.models", "django.forms",
    "django.http", "django.shortcuts", "django.template.defaulttags", "django.template.loader",
    "django.urls", "django.views.debug", "django.views.generic", "django_htmx", "environ", "openai",
    "openai.types.chat", "prometheus_client", "psutil", "pydantic", "pymongo", "redis",
    "rich.console", "rich.progress", "rich.table", "rq", "rq.cron", "rq.worker_pool", "sqlparse",
    "structlog", "whitenoise",
)  # fmt: skip
_MAX_BYTES = 1 << 20


class ForkedCommand:
    """A process of `["manage.py", ARGUMENT…]`, with what tests use of `subprocess.Popen`.

    `stdout`, `stderr`: a file, `subprocess.DEVNULL`, or `subprocess.PIPE` for `communicate`. What
    it returns is kept in a file, which cannot fill up as a pipe does.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: IO[Any] | int | None = None,
        stderr: IO[Any] | int | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.args = args
        self.returncode: int | None = None
        self._texts = ["", ""]
        self._kept = [
            tempfile.TemporaryFile("a+b") if isinstance(stream, int) else None  # noqa: SIM115
            for stream in (stdout, stderr)
        ]
        question = {
            "argv": list(args),
            "cwd": str(Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "session": start_new_session,
        }
        files = [0]
        for number, given in enumerate((stdout, stderr)):
            used = self._kept[number] if isinstance(given, int) else given
            files.append(used.fileno() if used else number + 1)
        # The forking process tells the id of this command, and its status when it ends.
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._told.connect(_address())
        socket.send_fds(self._told, [json.dumps(question).encode()], files)
        self.pid = int(self._told.recv(_MAX_BYTES))

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._told.recv(_MAX_BYTES) or -signal.SIGKILL)
            self._told.close()
            for number, file in enumerate(self._kept):
                if file:
                    with file:
                        file.seek(0)
                        self._texts[number] = file.read().decode()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self._texts[0], self._texts[1]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_command(
    arguments: Sequence[str], *, timeout: float = 120, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` with these arguments to its end; return its status, output and errors."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = ForkedCommand(["manage.py", *arguments], **pipes | options)
    try:
        out, err = process.communicate(timeout)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


_forking: list[tuple[str, "subprocess.Popen[bytes]"]] = []


def _address() -> str:
    """Return the path of the forking process's socket; the first call starts that process."""
    if not _forking:
        path = str(Path(tempfile.mkdtemp(prefix="prm-forking-")) / "socket")
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.forked_commands", path],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise RuntimeError("python -m tests.forked_commands does not start")
        atexit.register(_stop, path, process)
        _forking.append((path, process))
    return _forking[0][0]


def _stop(path: str, process: "subprocess.Popen[bytes]") -> None:
    process.communicate()  # closes its input, which ends it
    Path(path).unlink(missing_ok=True)
    Path(path).parent.rmdir()


def _serve(path: str) -> None:
    """Fork a command for each connection until stdin ends; return only in a forked process."""
    for name in _LIBRARIES:
        import_module(name)
    gc.freeze()  # else the first collection in each fork would copy all objects of the libraries
    ended, ends = socket.socketpair()
    ended.setblocking(False)
    ends.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ends.fileno())
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(path)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    asked_by: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, ended, sys.stdin.buffer], [], [])
        if sys.stdin.buffer in ready:
            os._exit(0)
        if ended in ready:
            ended.recv(_MAX_BYTES)
            _tell_ended(asked_by)
        if listener in ready and _is_forked(listener, asked_by):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (listener, ended, ends, *asked_by.values()):
                one.close()
            return


def _is_forked(listener: socket.socket, asked_by: dict[int, socket.socket]) -> bool:
    """Take a question and fork; return True in the command's process, False in this one."""
    asking, _ = listener.accept()
    message, files, _, _ = socket.recv_fds(asking, _MAX_BYTES, 3)
    if not (pid := os.fork()):
        asking.close()
        _become(json.loads(message), files)
        return True
    for file in files:
        os.close(file)
    asked_by[pid] = asking
    with suppress(OSError):  # the asker may be gone
        asking.send(str(pid).encode())
    return False


def _tell_ended(asked_by: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while found := os.waitpid(-1, os.WNOHANG):
            pid, status = found
            if not pid:
                return
            with asked_by.pop(pid) as asking, suppress(OSError):  # the asker may be gone
                asking.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become(question: dict[str, Any], files: list[int]) -> None:
    """Set what a new process has: session, streams, environment, directory, arguments."""
    if question["session"]:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        if file > 2:
            os.close(file)
    os.environ.clear()
    os.environ.update(question["env"])
    os.chdir(question["cwd"])
    sys.argv[:] = question["argv"]
    sys.path[0] = str(ROOT)


if __name__ == "__main__":
    _serve(sys.argv[1])
    runpy.run_path(str(ROOT / "manage.py"), run_name="__main__")
