"""The id of the request that is being answered, for logs and audit entries."""

from contextvars import ContextVar
from uuid import uuid4

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """Return the id of this request or job, or an empty string outside one."""
    return _request_id.get()


def new_request_id() -> str:
    value = uuid4().hex
    _request_id.set(value)
    return value
