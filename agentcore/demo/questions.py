"""A status page agent: two questions in plain words, one after the other in one node, then it acts.

assess -> tell_customers [pause, and pause again]
"""

from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pydantic import Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think


class Input(TypedDict):
    """An incident that customers notice."""

    incident_id: Annotated[str, Field(title="Incident", description="Number in the log.", examples=["INC-61204"])]
    service: Annotated[str, Field(description="What does not work.", examples=["Card payments"])]
    since: Annotated[str, Field(description="When it began.", examples=["09:42"])]
    severity: Literal["minor", "major"]


class State(Input):
    """The incident, and what customers were told."""

    suspicion: str
    notice: str
    published: str | None


async def assess(state: State) -> dict[str, Any]:
    """Say what the graphs of the last hour look like."""
    await think()
    share = "every third" if state["severity"] == "major" else "about one in fifty"
    return {
        "suspicion": f"{state['service']}: {share} attempt has failed since {state['since']}.",
        "published": None,
    }


async def tell_customers(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Ask twice, then publish. The node runs from its top for each answer, so it acts behind both questions."""
    await think()
    cause = interrupt(f"{state['suspicion']} What may the status page say about the cause?")
    until = interrupt(f'The notice will say: "{cause}". When do customers hear from us again?')
    notice = f"{state['service']} has been disturbed since {state['since']}. {cause} Next update: {until}"
    reference = record("notice", {"incident_id": state["incident_id"], "text": notice}, config=config)
    return {"notice": notice, "published": reference}


builder = StateGraph(State, input_schema=Input)
builder.add_node("assess", assess)
builder.add_node(
    "tell_customers",
    tell_customers,
    metadata={
        "approval": {
            "title": "Tell customers about the incident",
            "description": "Your words go to the public status page.",
            "summary": "{incident_id}: {service}, {severity}",
            "show": ["incident_id", "service", "since", "severity", "suspicion"],
        }
    },
)
builder.add_edge(START, "assess")
builder.add_edge("assess", "tell_customers")
builder.add_edge("tell_customers", END)

graph = builder.compile(name="questions")
