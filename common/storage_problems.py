"""What to say, in one line with a remedy, where the database or the queue is away."""

from django.conf import settings
from django.db import DatabaseError
from pymongo.errors import OperationFailure, PyMongoError
from redis.exceptions import RedisError

from common.places import to_type

STORAGE_ERRORS = (PyMongoError, DatabaseError, RedisError)

_CODES_OF_REFUSED_QUERIES = (2, 9, 14, 51091)
"""MongoDB's BadValue, FailedToParse, TypeMismatch, and that of a pattern that cannot be read."""

_SERVICES = to_type("services")
_REMEDY = f"in .env, or start the embedded services with `{_SERVICES}`"
NO_DATABASE = f"no database: set MONGODB_URI {_REMEDY}"
NO_QUEUE = f"no queue: set REDIS_URL {_REMEDY}"
NO_MODEL_SERVER = f"no model server: set OPENAI_BASE_URL {_REMEDY}"


def storage_problem(error: Exception) -> str:
    """Return what one of `STORAGE_ERRORS` means, and what to do."""
    if isinstance(error, RedisError):
        if not settings.REDIS_URL:
            return NO_QUEUE
        return (
            f"the queue at {without_password(settings.REDIS_URL)} failed: "
            f"{first_line(error)} (check REDIS_URL, or restart `{_SERVICES}`)"
        )
    if not settings.MONGODB_URI:
        return NO_DATABASE
    # The ORM wraps what pymongo raised, without its message.
    reason = error.__cause__ if isinstance(error.__cause__, PyMongoError) else error
    return (
        f"MongoDB at {without_password(settings.MONGODB_URI)} failed: "
        f"{first_line(reason)} (check MONGODB_URI, or restart `{_SERVICES}`)"
    )


def is_of_storage(error: BaseException | None) -> bool:
    """Return whether the database's or the queue's driver raised an error, not our use of it."""
    if is_refused_query(error):
        return False
    if isinstance(error, DatabaseError):
        return isinstance(error.__cause__, PyMongoError)
    return isinstance(error, (PyMongoError, RedisError))


def is_refused_query(error: BaseException | None) -> bool:
    """Return whether the database answered that a query is none, as with a broken pattern."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    return isinstance(cause, OperationFailure) and cause.code in _CODES_OF_REFUSED_QUERIES


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class name where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def without_password(uri: str) -> str:
    """Return an address without its user and password, and without options: some are passwords."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
