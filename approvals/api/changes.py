"""Changes of policies, people and groups under the two-admin rule."""

from typing import Literal
from uuid import UUID

from django.http import HttpRequest
from ninja import Router

from approvals.actions.people import changes
from approvals.api.auth import person
from approvals.api.errors import answers
from approvals.api.fields import Body
from approvals.api.schemas import ChangeProposed, TwoAdminsOut, change_proposed
from approvals.domain import permissions
from approvals.models import Change


class RefuseChange(Body):
    reason: str = ""


class TwoAdmins(Body):
    on: bool


router = Router(tags=["changes"])
MOST = 200


@router.get("/changes", response=answers(list[ChangeProposed]))
def list_changes(request: HttpRequest, status: Literal["open", "all"] = "open") -> list[ChangeProposed]:
    """List what admins proposed while two of them are needed, newest first."""
    permissions.check_set_policy(person(request))
    found = changes.open_changes() if status == "open" else Change.objects.all()
    rows = found.select_related("proposed_by", "closed_by").order_by("-proposed_at")[:MOST]
    return [change_proposed(change) for change in rows]


@router.post("/changes/{change_id}/confirm", response=answers(ChangeProposed, 404, 409, 410))
def confirm_change(request: HttpRequest, change_id: UUID) -> ChangeProposed:
    """Let a change count. Who proposed it cannot, nor a token that was made afterwards."""
    return change_proposed(changes.confirm(change_id=change_id, by=person(request)))


@router.post("/changes/{change_id}/refuse", response=answers(ChangeProposed, 404, 409, 410, 413))
def refuse_change(request: HttpRequest, change_id: UUID, given: RefuseChange) -> ChangeProposed:
    """Refuse a change that another admin proposed, or take one's own back, with a reason. It never counts then."""
    return change_proposed(changes.refuse(change_id=change_id, reason=given.reason, by=person(request)))


@router.get("/two-admins", response=answers(TwoAdminsOut))
def get_two_admins(request: HttpRequest) -> TwoAdminsOut:
    """Say whether two admins are needed to change policies, people and groups."""
    permissions.check_set_policy(person(request))
    return TwoAdminsOut(on=changes.is_guarded(), change=None)


@router.post("/two-admins", response=answers(TwoAdminsOut, 409, 413))
def set_two_admins(request: HttpRequest, given: TwoAdmins) -> TwoAdminsOut:
    """Turn the rule on, where there are two admins. Turning it off is a change that another admin confirms."""
    if given.on:
        changes.turn_on(by=person(request))
        return TwoAdminsOut(on=True, change=None)
    return TwoAdminsOut(on=True, change=change_proposed(changes.turn_off(by=person(request))))
