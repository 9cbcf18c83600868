"""What a run came to, as a LangGraph server answers whoever waits for it."""

from typing import Any

from agentcore.plain.json import untagged
from agentcore.plain.streams import INTERRUPT
from approvals.enums import RunStatus
from approvals.models import Approval, Run

ERROR = "__error__"
_UNDONE = (RunStatus.FAILED, RunStatus.HELD, RunStatus.SUPERSEDED)


def result_of(run: Run) -> Any:
    """Return the values where the run stopped, with what it asks; or what went wrong. The run was read with its thread.

    Large values are excerpts, as on pages; secrets are masked.
    """
    if wrong := error_of(run):
        return {ERROR: wrong}
    values = untagged(run.thread.state)
    asked = interrupts_of(run.thread_id) if run.status == RunStatus.PAUSED else []
    return {**values, INTERRUPT: asked} if asked and isinstance(values, dict) else values


def error_of(run: Run) -> dict[str, str] | None:
    """Return why the run did not get to where it should; None if it did."""
    if run.status not in _UNDONE:
        return None
    return {"error": run.error or str(run.status).title(), "message": run.problem}


def interrupts_of(thread_id: str) -> list[dict[str, Any]]:
    """Return what the thread asks with `interrupt()`. A breakpoint asks nothing."""
    asked = Approval.objects.pending().filter(thread_id=thread_id).exclude(interrupt_id="").oldest_first()
    return [{**_asked_in(each), "id": each.interrupt_id} for each in asked.only("request", "interrupt_id")]


def _asked_in(approval: Approval) -> dict[str, Any]:
    """Return what is asked, and the schema of an answer where its agent gave one."""
    asked = approval.request
    if not isinstance(asked, dict) or "value" not in asked:
        return {"value": asked, "response_schema": None}
    return {"value": asked["value"], "response_schema": asked.get("response_schema")}
