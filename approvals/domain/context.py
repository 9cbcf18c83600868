"""Context of the current request or job: its id, and whether a block writes its own audit entries."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

_request_id: ContextVar[str] = ContextVar("request_id", default="")
_is_telling: ContextVar[bool] = ContextVar("is_telling", default=False)


def current_request_id() -> str:
    """Return the id of this request or job, or an empty string outside one."""
    return _request_id.get()


def new_request_id() -> str:
    value = uuid4().hex
    _request_id.set(value)
    return value


@contextmanager
def telling() -> Iterator[None]:
    """Suppress the automatic audit entries about people and groups: the block writes its own."""
    token = _is_telling.set(True)
    try:
        yield
    finally:
        _is_telling.reset(token)


def is_telling() -> bool:
    return _is_telling.get()
