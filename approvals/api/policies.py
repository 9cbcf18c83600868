"""Who decides on a gate, and how. Admins change it on their own pages."""

from django.http import HttpRequest
from ninja import Router

from approvals.api.auth import viewer
from approvals.api.errors import answers
from approvals.api.schemas import PolicyOut, policy_out
from approvals.domain import rulebook
from approvals.models import Policy

router = Router(tags=["policies"])


@router.get("/policies", response=answers(list[PolicyOut]))
def list_policies(request: HttpRequest) -> list[PolicyOut]:
    """List the policies of the admins. A change counts for questions that are asked after it.

    Where none fits, the node's metadata says how it is decided, or else one reviewer does.
    """
    viewer(request)
    found = Policy.objects.prefetch_related("people", "groups", "escalate_to").order_by("graph_id", "node", "tool")
    return [policy_out(policy, rulebook.rule_of(policy)) for policy in found]
