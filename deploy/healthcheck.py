"""Health check of a container: exit status 0 if its site or workers are healthy, else 1.

usage: healthcheck.py site PATH       requests PATH from the site on this machine, like its proxy
       healthcheck.py workers QUEUE   looks for workers of this machine in the queue
"""

import os
import socket
import sys
import urllib.error
import urllib.request
from http import HTTPStatus

PORT = 8000
SECONDS_TO_ANSWER = 8.0
EXIT_BAD_USAGE = 2


def allowed_host() -> str:
    """Return a host name that the site accepts, from PRM_ALLOWED_HOSTS."""
    first = os.environ.get("PRM_ALLOWED_HOSTS", "").split(",")[0].strip()
    return "localhost" if first in ("", "*") else first.removeprefix(".")


def problem_of_site(path: str, port: int = PORT) -> str:
    """Return what is wrong with the site; empty if it is healthy."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}",
        # Without the first header the site answers 400; without the second it redirects to HTTPS.
        headers={"Host": allowed_host(), "X-Forwarded-Proto": "https"},
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:  # noqa: S310
            if response.status == HTTPStatus.OK and response.url == request.full_url:
                return ""
            return f"{response.url} answered {response.status}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{error.code}: {error.read(200).decode(errors='replace').strip()}"
    except OSError as error:
        return str(error)


def problem_of_workers(queue: str) -> str:
    """Return what is wrong with this machine's workers; empty if they are healthy."""
    import redis  # noqa: PLC0415  the site's check does not need the queue's packages
    from rq import Queue, Worker  # noqa: PLC0415

    try:
        with redis.from_url(
            os.environ["REDIS_URL"], socket_timeout=SECONDS_TO_ANSWER
        ) as connection:
            # The key of a silent worker expires, so this list does not have that worker.
            workers = Worker.all(queue=Queue(queue, connection=connection))
    except redis.RedisError as error:
        return f"the queue does not answer: {error}"
    if any(worker.hostname == socket.gethostname() for worker in workers):
        return ""
    return f"the queue knows no worker of {socket.gethostname()}"


def main(arguments: list[str]) -> int:
    match arguments:
        case ["site", path]:
            problem = problem_of_site(path)
        case ["workers", queue]:
            problem = problem_of_workers(queue)
        case _:
            sys.stderr.write(__doc__ or "")
            return EXIT_BAD_USAGE
    if problem:
        sys.stderr.write(f"{problem}\n")
    return int(bool(problem))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
