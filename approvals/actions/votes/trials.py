"""Trials whose results are kept for a while: what was previewed is not tried again when it is voted on.

A result is found by everything that it depends on: the checkpoint with all bytes that its tasks can read, the code of
the graph, and the content. It is signed: a row that somebody wrote into the database counts for nothing.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core import signing
from django.db.models import QuerySet
from django.db.models.functions import Now

from agentcore.plain.json import digest
from approvals.compiled import compiled
from approvals.models import Approval, TrialResult

KEPT_FOR = timedelta(hours=1)
_SALT = "approvals.trials"
_SHOWN = ("next_before", "next", "diff", "title", "summary", "actions", "digest")


def shown(preview: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a preview stays with a proposal: what changes and what it leads to, without the two states."""
    return {name: preview[name] for name in _SHOWN}


def key_of(approval: Approval, content: Any) -> str:
    """Return the digest of what a trial depends on. The approval is of `locks.find`; `content` is what is tried."""
    bound = approval.thread.reading_for(approval).bound
    place = [approval.graph_id, approval.thread_id, approval.checkpoint_ns, approval.checkpoint_id, bound]
    return digest([place, getattr(approval, "graph_code"), content])  # noqa: B009 - an annotation of `locks.find`


def keep(approval: Approval, content: Any, preview: Mapping[str, Any]) -> None:
    """Keep what a preview has shown."""
    key = key_of(approval, content)
    result = signing.dumps([key, shown(preview)], salt=_SALT)
    TrialResult.objects.bulk_create(
        [TrialResult(key=key, thread_id=approval.thread_id, result=result)],
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=["result", "created_at"],
    )


def kept(approval: Approval, content: Any) -> dict[str, Any] | None:
    """Return what a preview of the same has shown, as `shown` does; None if there was none, or it is too old."""
    key = key_of(approval, content)
    found = _kept(pk=key)
    if not found:
        return None
    try:
        of, preview = signing.loads(found[0].result, salt=_SALT)
    except signing.BadSignature:
        return None
    return dict(preview) if of == key else None


@compiled
def _kept(pk: str) -> "QuerySet[TrialResult]":
    return TrialResult.objects.filter(pk=pk, created_at__gt=Now() - KEPT_FOR)


def forget_old() -> None:
    """Delete results that are too old to be used."""
    TrialResult.objects.filter(created_at__lte=Now() - KEPT_FOR).delete()
