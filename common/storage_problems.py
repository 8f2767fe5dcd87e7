"""Turn failures of the database and the queue into one line with a remedy."""

from django.conf import settings
from django.db import DatabaseError
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import RedisError

from common.places import to_type

STORAGE_ERRORS = (PyMongoError, DatabaseError, RedisError)

_CODES_OF_REFUSED_QUERIES = (2, 9, 14, 51091)
"""MongoDB's BadValue, FailedToParse and TypeMismatch, and its code for an invalid pattern."""

_SERVICES = to_type("services")
_REMEDY = f"in .env, or start the embedded services with `{_SERVICES}`"
NO_DATABASE = f"no database: set MONGODB_URI {_REMEDY}"
NO_QUEUE = f"no queue: set REDIS_URL {_REMEDY}"
NO_MODEL_SERVER = f"no model server: set OPENAI_BASE_URL {_REMEDY}"


def storage_problem(error: Exception) -> str:
    """Return what one of `STORAGE_ERRORS` means, and the remedy."""
    if isinstance(error, RedisError):
        if not settings.REDIS_URL:
            return NO_QUEUE
        return (
            f"the queue at {without_password(settings.REDIS_URL)} failed: "
            f"{first_line(error)} (check REDIS_URL, or restart `{_SERVICES}`)"
        )
    if not settings.MONGODB_URI:
        return NO_DATABASE
    # The ORM wraps pymongo's error without its message.
    reason = error.__cause__ if isinstance(error.__cause__, PyMongoError) else error
    return (
        f"MongoDB at {without_password(settings.MONGODB_URI)} failed: "
        f"{first_line(reason)} (check MONGODB_URI, or restart `{_SERVICES}`)"
    )


def is_of_storage(error: BaseException | None) -> bool:
    """Return whether the driver of the database or the queue raised an error."""
    if is_refused_query(error):
        return False
    if isinstance(error, DatabaseError):
        return isinstance(error.__cause__, PyMongoError)
    return isinstance(error, (PyMongoError, RedisError))


def is_refused_query(error: BaseException | None) -> bool:
    """Return whether the database rejected a query as invalid, as with a broken pattern."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return isinstance(cause, OperationFailure) and cause.code in _CODES_OF_REFUSED_QUERIES


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name if it has no message."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def without_password(uri: str) -> str:
    """Return an address without user, password and options: some options hold passwords."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
