"""An operations agent: it writes the plan of a change, and a person reads it before it runs.

understand -> draft_change -> [pause] -> apply_change -> verify
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from pydantic import Field
from typing_extensions import TypedDict

from agentcore import effect_key, once
from agentcore.demo.outbox import record, think


class Input(TypedDict):
    """A change somebody asks for."""

    request: Annotated[
        str,
        Field(
            description="What should change, and why.",
            max_length=5_000,
            examples=["Scale the checkout to 12 replicas before the sale on Friday."],
        ),
    ]
    service: Annotated[
        str,
        Field(description="Name of the deployment.", pattern="^[a-z0-9-]+$", examples=["checkout"]),
    ]
    environment: Literal["staging", "production"]


class State(Input):
    """The change. `plan` and `rollback` hold one command each line; an edit replaces them."""

    blast_radius: str
    plan: list[str]
    rollback: list[str]
    applied: str | None
    verified: bool


@dataclass(frozen=True)
class Playbook:
    """The words of one kind of change, what users notice of it, and how it is undone."""

    words: str
    impact: str
    plan: tuple[str, ...]
    rollback: tuple[str, ...]


# The first whose words match wins; the last matches anything.
PLAYBOOKS = (
    Playbook(
        words=r"\b(migrat|schema|column|index)",
        impact="writes wait for locks for up to 30 seconds; a failed migration needs a restore",
        plan=(
            "pg_dump --format=custom --file=/backup/{service}-before.dump {service}",
            "kubectl -n {environment} scale deploy/{service}-worker --replicas=0",
            "kubectl -n {environment} exec deploy/{service} -- ./manage.py migrate --noinput",
            "kubectl -n {environment} scale deploy/{service}-worker --replicas=4",
        ),
        rollback=(
            "kubectl -n {environment} scale deploy/{service}-worker --replicas=0",
            "pg_restore --clean --dbname={service} /backup/{service}-before.dump",
            "kubectl -n {environment} scale deploy/{service}-worker --replicas=4",
        ),
    ),
    Playbook(
        words=r"\b(rotat|credential|secret|certificate|tls|key)",
        impact="clients that hold the old secret fail until they reconnect",
        plan=(
            "vault write -f {environment}/{service}/rotate",
            "kubectl -n {environment} rollout restart deploy/{service}",
            "kubectl -n {environment} rollout status deploy/{service} --timeout=300s",
            "vault lease revoke -prefix {environment}/{service}/previous",
        ),
        rollback=(
            "vault kv rollback -version=previous {environment}/{service}",
            "kubectl -n {environment} rollout restart deploy/{service}",
        ),
    ),
    Playbook(
        words=r"\b(scale|replicas|capacity|traffic)",
        impact="no interruption expected; database connections grow with the replicas",
        plan=(
            "kubectl -n {environment} scale deploy/{service} --replicas={number}",
            "kubectl -n {environment} rollout status deploy/{service} --timeout=300s",
        ),
        rollback=("kubectl -n {environment} scale deploy/{service} --replicas=4",),
    ),
    Playbook(
        words="",
        impact="requests in flight are retried once while the pods restart",
        plan=(
            "kubectl -n {environment} rollout restart deploy/{service}",
            "kubectl -n {environment} rollout status deploy/{service} --timeout=300s",
        ),
        rollback=("kubectl -n {environment} rollout undo deploy/{service}",),
    ),
)


async def understand(state: State) -> dict[str, Any]:
    """Work out who would notice if this went wrong."""
    await think()
    impact = playbook(state["request"]).impact
    who = "customers" if state["environment"] == "production" else "colleagues only"
    return {
        "blast_radius": f"{state['service']} in {state['environment']} ({who}): {impact}.",
        "applied": None,
        "verified": False,
    }


async def draft_change(state: State) -> dict[str, Any]:
    """Write the commands, and the ones that take them back."""
    await think()
    book = playbook(state["request"])
    return {"plan": fill_in(book.plan, state), "rollback": fill_in(book.rollback, state)}


async def apply_change(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Carry out the plan as it stands now, once. The demo writes it down and runs no command."""
    await think()
    change = {
        "service": state["service"],
        "environment": state["environment"],
        "plan": state["plan"],
        "rollback": state["rollback"],
    }

    async def apply() -> str:
        return record("change", change, config=config)

    return {"applied": await once(effect_key(), apply)}


async def verify(state: State) -> dict[str, Any]:
    """Look whether the change is there."""
    await think()
    return {"verified": state["applied"] is not None}


def playbook(request: str) -> Playbook:
    """The first whose words appear in the request."""
    return next(book for book in PLAYBOOKS if re.search(book.words, request, re.IGNORECASE))


def fill_in(steps: tuple[str, ...], state: State) -> list[str]:
    """The steps with the names, and the first number of the request, put in."""
    number = re.search(r"\b\d{1,3}\b(?= (replicas|pods|instances))", state["request"])
    names = {"service": state["service"], "environment": state["environment"]}
    return [step.format(**names, number=number.group() if number else 6) for step in steps]


# The pause comes after draft_change and the effect in apply_change: both carry the words.
GATE = {
    "approval": {
        "title": "Apply the change",
        "description": "Runs the plan against the cluster, step by step. You can edit the plan; "
        "the rollback is what on-call would run.",
        "summary": "{request} ({environment})",
        "headline": "Change {service} in {environment}",
        "detail": "{request}",
        "risk": "live systems",
        "show": ["service", "environment", "plan", "rollback", "blast_radius"],
    }
}

builder = StateGraph(State, input_schema=Input)
builder.add_node("understand", understand)
builder.add_node("draft_change", draft_change, metadata=GATE)
builder.add_node("apply_change", apply_change, metadata=GATE)
builder.add_node("verify", verify)
builder.add_edge(START, "understand")
builder.add_edge("understand", "draft_change")
builder.add_edge("draft_change", "apply_change")
builder.add_edge("apply_change", "verify")
builder.add_edge("verify", END)

graph = builder.compile(interrupt_after=["draft_change"], name="operations")
