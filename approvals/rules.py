"""Which policy counts for a question, and who may vote under it. Reads Policy rows; `policies` judges."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q

from agentcore.types import Pause
from approvals.enums import Role
from approvals.models import Graph, Policy
from approvals.policies import Rule, Voters, rule_from_metadata, strictest


class Rulebook:
    """The policies that may count on a graph, read once for all the questions of a step."""

    def __init__(self, graph_id: str) -> None:
        policies = Policy.objects.filter(graph_id__in=["", graph_id])
        self._rows = list(policies.prefetch_related("people", "groups", "escalate_to"))
        graph = Graph.objects.filter(pk=graph_id).first()
        self._written = _written_in(graph)
        self.code_digest: str = graph.card["code_digest"] if graph else ""

    def rule_for(self, pause: Pause) -> Rule:
        """Return the rule of a pause: the most specific policy, else the default.

        What a node's metadata says counts as a policy for that node, until an admin writes one for the same place.

        Gates that wait together are decided together, by the strictest of their rules.
        """
        places = [(node, tool) for node in pause.next or ("",) for tool in pause.tools or ("",)]
        return strictest([_rule_at(node, tool, self._rows, self._written) for node, tool in places])


def _rule_at(node: str, tool: str, rows: Iterable[Policy], written: Mapping[str, Any]) -> Rule:
    fitting = [(_place_of(row), row) for row in rows if row.node in ("", node) and row.tool in ("", tool)]
    place, row = max(fitting, key=lambda each: each[0], default=((False, False, False), None))
    if node in written and place < _OF_METADATA:
        return rule_from_metadata(written[node])
    return rule_of(row) if row else Rule()


_OF_METADATA = (False, True, True)


def _place_of(policy: Policy) -> tuple[bool, bool, bool]:
    """Rank a policy: one for a tool before one for a node before one for a graph."""
    return policy.tool != "", policy.node != "", policy.graph_id != ""


def _written_in(graph: Graph | None) -> dict[str, Any]:
    nodes = graph.card["nodes"] if graph else []
    return {node["id"]: node["approval"]["policy"] for node in nodes if "policy" in node["approval"]}


def faults_in(nodes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each node of a card whose policy cannot be read."""
    for node in nodes:
        if "policy" in node["approval"]:
            try:
                rule_from_metadata(node["approval"]["policy"])
            except ValueError as error:
                yield f"The policy in the metadata of node {node['id']} cannot be read: {error}."


def rule_of(policy: Policy) -> Rule:
    people = tuple(sorted(person.get_username() for person in policy.people.all()))
    groups = tuple(sorted(group.name for group in policy.groups.all()))
    return Rule(
        source=f"{policy} v{policy.version}",
        approvals=policy.approvals,
        voters=(Voters(people, groups),) if people or groups else (),
        one_reject_ends=policy.one_reject_ends,
        may_decide_own=policy.may_decide_own,
        needs_reason=policy.needs_reason,
        deadline_minutes=policy.deadline_minutes,
        on_deadline=policy.on_deadline,
        escalate_to=tuple(sorted(group.name for group in policy.escalate_to.all())),
        on_crash=policy.on_crash,
    )


def count_voters(rule: Rule, *, started_by_id: int | None, is_escalated: bool) -> int:
    """Count the people who may vote under a rule."""
    people = User.objects.filter(is_active=True, groups__name=Role.REVIEWER)
    if started_by_id is not None and not rule.may_decide_own:
        people = people.exclude(pk=started_by_id)
    fits = Q()
    for voters in rule.voters:
        fits &= Q(username__in=voters.people) | Q(pk__in=User.objects.filter(groups__name__in=voters.groups))
    if is_escalated and rule.voters:
        fits |= Q(pk__in=User.objects.filter(groups__name__in=rule.escalate_to)) if rule.escalate_to else Q(pk__gt=0)
    return people.filter(fits).distinct().count()
