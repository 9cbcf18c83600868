"""The metadata that clients give a thread, to find it again."""

from collections.abc import Mapping
from typing import Any

from django.db.models import BooleanField, JSONField
from django.db.models.expressions import RawSQL
from django.utils import timezone

from agentcore.plain.json import canonical
from approvals import audit
from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import THREAD_CLEANED, Gone, Invalid, NotFound
from approvals.live import events
from approvals.models import Thread

OF_GRAPH = ("graph_id", "assistant_id")
"""What the metadata of a thread says of its graph, as under LangGraph's server. An assistant is a graph."""
LONGEST_METADATA = 64_000
MOST_NAMED = 100
_MERGED = "approvals_thread.metadata || %s::jsonb"
"""The database merges it: what is there may be large, and the thread is locked."""


def merge_metadata(*, thread_id: str, metadata: Mapping[str, Any], by: User) -> Thread:
    """Set these names in the thread's metadata, and leave the others. Raises NotFound, Gone, Invalid.

    The graph of a thread is known from its runs: it cannot be given another one here.
    """
    permissions.check_start_run(by)
    with audit.transaction():
        thread = Thread.objects.find_locked(thread_id)
        permissions.check_again(by, "start_run")
        if thread is None:
            raise NotFound("There is no such thread.")
        if thread.cleaned_at:
            raise Gone(THREAD_CLEANED)
        _check(thread, metadata)
        _merge(thread_id, metadata)
        events.publish(thread_id=thread_id, is_queue_changed=False)
        names = sorted(metadata)[:MOST_NAMED]
        audit.append("thread.described", actor=by.get_username(), thread_id=thread_id, object={"names": names})
    return Thread.objects.get(pk=thread_id)


def _check(thread: Thread, metadata: Mapping[str, Any]) -> None:
    for name in OF_GRAPH:
        if thread.graph_id and metadata.get(name, thread.graph_id) != thread.graph_id:
            told = f"This thread is of the graph {thread.graph_id}. Leave {name} out."
            raise Invalid(told, faults=[{"path": f"metadata/{name}", "message": told}])


def _merge(thread_id: str, metadata: Mapping[str, Any]) -> None:
    added = canonical(metadata)
    is_short = RawSQL(f"length(({_MERGED})::text) <= {LONGEST_METADATA}", [added], output_field=BooleanField())
    fitting = Thread.objects.filter(is_short, pk=thread_id)
    merged = RawSQL(_MERGED, [added], output_field=JSONField())
    if not fitting.update(metadata=merged, updated_at=timezone.now()):
        raise Invalid(f"The metadata of a thread is at most {LONGEST_METADATA} characters of JSON.")
