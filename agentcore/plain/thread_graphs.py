"""Which graph a thread belongs to: from what its checkpoint says and shows, and from what each graph has. Plain
data.

All agents of `create_agent` have the same nodes, so nodes do not tell graphs apart. A thread is bound by the id in its
metadata, or else by the name of its agent, if the tools and channels it shows are that agent's too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from agentcore.plain.types import Shown, Traits

GRAPH_KEY = "graph_id"
AGENT_KEY = "lc_agent_name"
"""Where `create_agent(name=...)` writes its name into the metadata of every checkpoint."""


def claims_in(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return what a checkpoint says of its graph: `graph_id` and `agent`."""
    said = {"graph_id": metadata.get(GRAPH_KEY), "agent": metadata.get(AGENT_KEY)}
    return {name: value[:200] for name, value in said.items() if isinstance(value, str) and value}


def bound_to(shown: Shown, graphs: Mapping[str, Traits]) -> tuple[str, str]:
    """Return the graph, and how it is known: `metadata` or `agent`; two empty strings if it is not known."""
    named, agent = shown.claims.get("graph_id"), shown.claims.get("agent")
    if named:
        return (named, "metadata") if named in graphs and not _why_not_named(shown, graphs[named]) else ("", "")
    if not agent or not shown.is_whole:
        return "", ""
    found = [
        graph_id for graph_id, traits in graphs.items() if traits.agent == agent and not traits.lacks(shown.traits)
    ]
    return (found[0], "agent") if len(found) == 1 else ("", "")


def _why_not_named(shown: Shown, traits: Traits) -> str:
    """Say why a thread is not of the graph that it names. That of an agent also shows the name and the tools."""
    agent = shown.claims.get("agent")
    if agent and traits.agent and agent != traits.agent:
        return f"it is the agent {traits.agent}, and the thread is of the agent {agent}"
    is_agent = bool(agent and traits.agent and shown.is_whole)
    return traits.lacks(shown.traits) if is_agent or not traits.nodes >= shown.traits.nodes else ""


def fitting(shown: Shown, graphs: Mapping[str, Traits]) -> list[str]:
    """Return the ids of graphs that could have made the thread. That alone lets none of them run it."""
    ran = bool(shown.traits.nodes)
    return sorted(graph_id for graph_id, traits in graphs.items() if ran and not traits.lacks(shown.traits))


def why_not(shown: Shown, graphs: Mapping[str, Traits]) -> str:
    """Return why a thread is bound to no graph, which graphs fit, and what to do."""
    return " ".join([_reason(shown, graphs), _fit(fitting(shown, graphs)), ADVICE])


ADVICE = "An admin can say which graph it is of. Agents name theirs: graph_id in the config's metadata."


def _reason(shown: Shown, graphs: Mapping[str, Traits]) -> str:
    named, agent = shown.claims.get("graph_id"), shown.claims.get("agent")
    if named and named not in graphs:
        return f"Its metadata names the graph {named}, which is not here."
    if named:
        return f"Its metadata names the graph {named}, but that is not it: {_why_not_named(shown, graphs[named])}."
    if agent and not shown.is_whole:
        return f"Its metadata names no graph, and it is too large to see whether it is of the agent {agent}."
    if agent:
        return f"Its metadata names no graph, and {_agents(agent, shown, graphs)}."
    return "Its metadata names no graph."


def _agents(agent: str, shown: Shown, graphs: Mapping[str, Traits]) -> str:
    called = [graph_id for graph_id, traits in graphs.items() if traits.agent == agent]
    if len(called) == 1:
        return f"the agent {agent} here is another one: {graphs[called[0]].lacks(shown.traits)}"
    if not called:
        return f"no graph here is the agent {agent}"
    return f"{len(called)} graphs here are agents of the name {agent}"


def _fit(found: list[str]) -> str:
    if not found:
        return "No graph here fits it."
    if len(found) == 1:
        return f"One graph fits it: {found[0]}."
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return f"{len(found)} graphs fit it: {', '.join(found[:MOST_NAMED])}{more}."


MOST_NAMED = 10


def contested(bound: str, agent: str, accepted: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Say that a thread's newest checkpoint names another graph, or agent, than the one it is bound to.

    `agent` is the bound graph's; `accepted` is what the thread said when it was bound, which may differ from both.
    """
    named, called = now.get("graph_id", ""), now.get("agent", "")
    if named not in ("", bound, accepted.get("graph_id", "")):
        return _contested(bound, f"the graph {named}")
    if agent and called not in ("", agent, accepted.get("agent", "")):
        return _contested(bound, f"the agent {called}")
    return ""


def _contested(bound: str, by: str) -> str:
    return (
        f"Its newest checkpoint says that {by} wrote it, and this thread is of the graph {bound}. Nothing is decided or"
        f" run here until an admin has looked, and says again that it is of {bound}; or force-cleans it."
    )


def tools_in(values: Iterable[Any]) -> set[str]:
    """Return the names of tools in messages and questions, as plain data: called, answered, or waiting for approval."""
    found: set[str] = set()
    waiting = list(values)
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, dict):
            found |= set(_named(item))
            waiting.extend(value for value in item.values() if isinstance(value, dict | list))
    return found


def _named(item: Mapping[str, Any]) -> Iterable[str]:
    calls: list[Any] = []
    for key in ("tool_calls", "action_requests", "actionRequests"):
        calls += item[key] if isinstance(item.get(key), list) else []
    if item.get("type") in ("tool_approval", "tool"):
        calls.append(item)
    names = (call.get("name") or call.get("action") for call in calls if isinstance(call, dict))
    return (name for name in names if isinstance(name, str))
