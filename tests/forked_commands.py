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
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

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


class ForkedCommand(subprocess.Popen[Any]):
    """A `Popen` of `["manage.py", ARGUMENT…]`, with `cwd`, `env`, pipes and `start_new_session`."""

    _told: socket.socket
    """The forking process sends the exit status of this command here."""

    def _execute_child(self, args: Sequence[str], *given: Any) -> None:
        names = (
            "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env", "startupinfo",
            "creationflags", "shell", "p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread",
            "errwrite", "restore_signals", "gid", "gids", "uid", "umask", "start_new_session",
        )  # fmt: skip
        asked = dict(zip(names, given, strict=False))
        streams = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
        question = {
            "argv": [str(one) for one in args],
            "cwd": str(asked["cwd"] or Path.cwd()),
            "env": dict(os.environ if asked["env"] is None else asked["env"]),
            "session": bool(asked["start_new_session"]),
        }
        self._told = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._told.connect(_address())
        files = [number if stream == -1 else stream for number, stream in enumerate(streams)]
        socket.send_fds(self._told, [json.dumps(question).encode()], files)
        self.pid = int(self._told.recv(_MAX_BYTES))
        self._child_created = True
        self._close_pipe_fds(*(asked[name] for name in names[9:15]))  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        """Return the process's id and status, as `os.waitpid` does."""
        if wait_flags == os.WNOHANG and not select.select([self._told], [], [], 0)[0]:
            return 0, 0
        status = int(self._told.recv(_MAX_BYTES) or -signal.SIGKILL)
        self._told.close()
        return self.pid, status if status < 0 else status << 8

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid == self.pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _handle_exitstatus(self, status: int) -> None:
        self.returncode = status if status < 0 else status >> 8


def run_command(
    arguments: Sequence[str], *, timeout: float = 120, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `manage.py` with these arguments to its end; return its status, output and errors."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with ForkedCommand(["manage.py", *arguments], **pipes | options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


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
