"""The policies that may count on a graph, and the rule they give a question."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from django.db import connection

from agentcore.plain.types import Pause
from approvals.domain.policies import Rule, Voters, rule_from_metadata, strictest
from approvals.models import Policy

# A thread is locked meanwhile, and the card may be large: only its policies are read, by the path of each subgraph.
_CARD_SQL = """
SELECT statement_timestamp(), graph.card ->> 'code_digest', (
    SELECT jsonb_object_agg(part.path, coalesce((
        SELECT jsonb_object_agg(node ->> 'id', node #> '{approval,policy}')
        FROM jsonb_array_elements(part.card -> 'nodes') node WHERE jsonb_exists(node -> 'approval', 'policy')
    ), '{}'))
    FROM (
        SELECT '' AS path, graph.card
        UNION ALL SELECT * FROM jsonb_each(coalesce(graph.card -> 'subgraphs', '{}'))
    ) part
) FROM (SELECT) one LEFT JOIN approvals_graph graph ON graph.id = %s
"""


class Rulebook:
    """The policies that may apply to a graph, read once for all questions of a step."""

    def __init__(self, graph_id: str) -> None:
        policies = Policy.objects.filter(graph_id__in=["", graph_id])
        self._rows = list(policies.prefetch_related("people", "groups", "escalate_to"))
        with connection.cursor() as cursor:
            cursor.execute(_CARD_SQL, [graph_id])
            read_at, code_digest, written = cursor.fetchone()
        self.read_at: datetime = read_at
        """The database's time: deadlines and roles are compared with it."""
        self.code_digest: str = code_digest or ""
        self._written: dict[str, dict[str, Any]] = json.loads(written or "{}")

    def rule_for(self, pause: Pause) -> Rule:
        """Return the rule of a pause: the most specific policy, or else the default.

        A policy in a node's metadata counts until an admin writes one for the same place. Gates that wait together are
        decided together, under the strictest of their rules.
        """
        places = [(node, tool) for node in pause.next or ("",) for tool in pause.tools or ("",)]
        written = self._written.get("|".join(pause.path), self._written.get("", {}))
        return strictest([_rule_at(node, tool, self._rows, written) for node, tool in places])


def _rule_at(node: str, tool: str, rows: Iterable[Policy], written: Mapping[str, Any]) -> Rule:
    fitting = [(_place_of(row), row) for row in rows if row.node in ("", node) and row.tool in ("", tool)]
    place, row = max(fitting, key=lambda each: each[0], default=((False, False, False), None))
    if node in written and place < _OF_METADATA:
        return rule_from_metadata(written[node])
    return rule_of(row) if row else Rule()


_OF_METADATA = (False, True, True)


def _place_of(policy: Policy) -> tuple[bool, bool, bool]:
    """Rank a policy: a tool before a node, a node before a graph."""
    return policy.tool != "", policy.node != "", policy.graph_id != ""


def faults_in(nodes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each node of a card whose policy cannot be parsed."""
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
        may_edit=None if policy.may_edit is None else tuple(policy.may_edit),
        edit_needs_another=policy.edit_needs_another,
    )
