"""Traces of runs say nothing of secrets: LangSmith's client masks them before it sends a trace or exports it.

It masks where the trace is made, in the context of the run, so several runs go on side by side. What is traced where no
run is known, in a thread that an author started, is masked by the paths of all graphs here.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import langsmith
from langchain_core.tracers.langchain import wait_for_all_tracers
from langsmith.utils import get_env_var, tracing_is_enabled

from agentcore.plain.errors import without_secrets
from agentcore.plain.masks import Mask

logger = logging.getLogger(__name__)

_mask: ContextVar[Mask | None] = ContextVar("mask_of_the_run", default=None)


@contextmanager
def masked_by(mask: Mask) -> Iterator[None]:
    """Have the block's traces masked so."""
    token = _mask.set(mask)
    try:
        yield
    finally:
        _mask.reset(token)


def hide_secrets(paths: Iterable[str]) -> None:
    """Have LangSmith's default client mask what these paths name, if traces are made and there is something to mask.

    A client that an author makes is the author's own: it takes what it is given.
    """
    named = tuple(paths)
    get_env_var.cache_clear()  # type: ignore[attr-defined] # langgraph.json may have set a variable since
    if not named or not tracing_is_enabled():
        return
    try:
        langsmith.configure(client=langsmith.Client(anonymizer=lambda told: _hidden(told, named)))
    except Exception as error:  # noqa: BLE001 - without its packages or with a wrong setting it cannot be made
        # Nor could the default one, which has the same settings: so nothing is traced, and nothing in clear.
        logger.warning("runs are not traced: %s: %s", type(error).__name__, without_secrets(str(error)))


def flush(*, seconds: float) -> None:
    """Wait until what was traced is sent, so long at most: it takes for ever where nobody answers."""
    if tracing_is_enabled():
        sending = threading.Thread(target=wait_for_all_tracers, name="last traces", daemon=True)
        sending.start()
        sending.join(seconds)


def _hidden(told: Any, paths: tuple[str, ...]) -> Any:
    mask = _mask.get()
    if mask is None:
        mask = Mask(paths)
    return mask.everywhere(told)
