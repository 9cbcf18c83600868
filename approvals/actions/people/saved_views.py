"""Lists of the queue that people keep under a name, for themselves or for everybody."""

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from approvals.domain import permissions
from approvals.domain.permissions import User
from approvals.errors import Conflict, Invalid, NotFound
from approvals.models import SavedView

MOST_OWN = 30
MOST_SHOWN = 40
LONGEST_NAME, LONGEST_QUERY = 60, 600


def keep_view(*, name: str, query: str, is_shared: bool, by: User) -> SavedView:
    """Keep a list under a name, or change what this person keeps under it. Raises Invalid or Conflict."""
    permissions.check_view(by)
    name = " ".join(name.replace("\x00", "").split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise Invalid(f"Give the view a name of at most {LONGEST_NAME} characters.")
    if len(query) > LONGEST_QUERY:
        raise Invalid("This search is too long to be kept. Shorten it first.")
    mine = SavedView.objects.filter(owner_id=by.pk)
    if mine.exclude(name=name).count() >= MOST_OWN:
        raise Conflict(f"You keep {MOST_OWN} views already. Remove one first.")
    try:
        with transaction.atomic():
            kept, _ = SavedView.objects.update_or_create(
                owner_id=by.pk, name=name, defaults={"query": query, "is_shared": is_shared}
            )
    except IntegrityError:  # the same was sent twice at the same moment
        kept = mine.get(name=name)
    return kept


def remove_view(*, view_id: int, by: User) -> None:
    """Remove a view of one's own; an admin may remove a shared one. Raises NotFound."""
    permissions.check_view(by)
    may_remove = Q(owner_id=by.pk) if permissions.why_not(by, "set_policy") else Q(owner_id=by.pk) | Q(is_shared=True)
    if not SavedView.objects.filter(may_remove, pk=view_id).delete()[0]:
        raise NotFound("You have no such view. A shared one is removed by its owner or by an admin.")


def views_for(by: User) -> "QuerySet[SavedView, Any]":
    """Select a person's own views and those that others share, by name."""
    found = SavedView.objects.filter(Q(owner_id=by.pk or 0) | Q(is_shared=True)).order_by("name", "id")
    return found.values("id", "name", "query", "is_shared", "owner_id", "owner__username")[:MOST_SHOWN]
