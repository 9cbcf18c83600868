"""A market study that asks in several places at once.

brief -> audience [pause]                          -> split -> budget [pause] for each region -> report
      -> fieldwork( recruit -> panel( incentive [pause] ) )
"""

import operator
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think


class Input(TypedDict):
    """A product to be studied."""

    product: Annotated[str, Field(description="What people are asked about.", examples=["Oat drink, 1 litre"])]
    regions: Annotated[list[str], Field(description="Where.", min_length=1, examples=[["Iberia", "Nordics"]])]
    respondents: Annotated[int, Field(description="How many people in each region.", ge=10, le=5_000)]


class State(Input):
    """The study. Each region adds a line to `budgets`."""

    plan: str
    audience: str
    incentive: str
    budgets: Annotated[list[str], operator.add]
    report: str | None


class Fieldwork(TypedDict):
    """What the part that finds people works on."""

    product: str
    respondents: int
    recruited: int
    incentive: str


class Found(TypedDict):
    """What the branch adds to the state of the study."""

    incentive: str


class Region(TypedDict):
    """What one region is sent."""

    region: str
    product: str
    respondents: int
    incentive: str


class Incentive(BaseModel):
    """What people get for their time."""

    kind: Literal["voucher", "cash", "raffle"] = Field(description="What they get.")
    amount: int = Field(description="In euro.", ge=0, le=50)


ALLOWED = ["approve", "edit", "reject"]
# This region's agent was ported from JavaScript, and kept its spelling.
FROM_JAVASCRIPT = "Nordics"


async def brief(state: State) -> dict[str, Any]:
    """Write down what is to be found out."""
    await think()
    where = " and ".join(state["regions"])
    return {"plan": f"{state['respondents']} people each in {where} on: {state['product']}.", "report": None}


async def audience(state: State) -> dict[str, Any]:
    """Ask whom to ask."""
    await think()
    answer = interrupt(
        {
            "question": f"Whom do we ask about {state['product']}?",
            "options": ["Everybody who shops", "Those who buy it", "Those who stopped buying it"],
        }
    )
    return {"audience": str(answer)}


async def recruit(state: Fieldwork) -> dict[str, Any]:
    """Invite three times as many as are needed."""
    await think()
    return {"recruited": state["respondents"] * 3}


async def incentive(state: Fieldwork) -> dict[str, Any]:
    """Ask what people get, two graphs below the study."""
    await think()
    question = f"{state['recruited']} people are invited. What does one get who takes part?"
    chosen = interrupt(question, response_schema=Incentive)
    return {"incentive": f"{chosen.kind} of {chosen.amount} EUR"}


async def split(state: State) -> dict[str, Any]:
    """Wait for both branches."""
    return {}


def regions(state: State) -> list[Send]:
    """One budget for each region, all at once."""
    shared = {name: state[name] for name in ("product", "respondents", "incentive")}
    return [Send("budget", {"region": region, **shared}) for region in state["regions"]]


async def budget(state: Region, config: RunnableConfig) -> dict[str, Any]:
    """Reserve the money if a person agrees."""
    await think()
    action = {
        "name": "reserve_budget",
        "args": {"region": state["region"], "amount": state["respondents"] * 12.5, "currency": "EUR"},
        "description": f"{state['respondents']} interviews on {state['product']}; {state['incentive']} each.",
    }
    agreed = ask_as_javascript(action) if state["region"] == FROM_JAVASCRIPT else ask(action)
    if agreed is None:
        return {"budgets": [f"{state['region']}: left out"]}
    reference = record("budget", agreed, config=config)
    return {"budgets": [f"{state['region']}: {agreed['amount']:.2f} {agreed['currency']} ({reference})"]}


def ask(action: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments agreed on; none if the answer is no."""
    review = {"action_name": action["name"], "allowed_decisions": ALLOWED}
    [decision] = interrupt({"action_requests": [action], "review_configs": [review]})["decisions"]
    return agreed_on(action, decision, edited="edited_action")


def ask_as_javascript(action: dict[str, Any]) -> dict[str, Any] | None:
    """The same, as LangChain's JavaScript writes it."""
    review = {"actionName": action["name"], "allowedDecisions": ALLOWED}
    [decision] = interrupt({"actionRequests": [action], "reviewConfigs": [review]})["decisions"]
    return agreed_on(action, decision, edited="editedAction")


def agreed_on(action: dict[str, Any], decision: dict[str, Any], *, edited: str) -> dict[str, Any] | None:
    """The arguments as they were asked for, or as they were edited."""
    match decision["type"]:
        case "approve":
            return dict(action["args"])
        case "edit":
            return dict(decision[edited]["args"])
        case _:
            return None


async def report(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Order the study."""
    await think()
    study = {name: state[name] for name in ("plan", "audience", "incentive", "budgets")}
    return {"report": record("study", study, config=config)}


_panel = StateGraph(Fieldwork, output_schema=Found)
_panel.add_node(
    "incentive",
    incentive,
    metadata={
        "approval": {
            "title": "Choose what people get",
            "description": "It is promised in the invitation.",
            "summary": "{recruited} people on {product}",
            "show": ["product", "recruited"],
        }
    },
)
_panel.add_edge(START, "incentive")

_fieldwork = StateGraph(Fieldwork, output_schema=Found)
_fieldwork.add_node("recruit", recruit)
_fieldwork.add_node("panel", _panel.compile(name="panel"))
_fieldwork.add_edge(START, "recruit")
_fieldwork.add_edge("recruit", "panel")

builder = StateGraph(State, input_schema=Input)
builder.add_node("brief", brief)
builder.add_node(
    "audience",
    audience,
    metadata={
        "approval": {
            "title": "Choose whom to ask",
            "description": "The study is about them, and about nobody else.",
            "summary": "{product}",
            "show": ["product", "plan"],
        }
    },
)
builder.add_node("fieldwork", _fieldwork.compile(name="fieldwork"))
builder.add_node("split", split)
builder.add_node(
    "budget",
    budget,
    metadata={
        "approval": {
            "title": "Reserve the region's budget",
            "description": "Money for the interviews of one region.",
            "summary": "{product}",
            "show": ["product", "plan", "incentive"],
        }
    },
)
builder.add_node("report", report)
builder.add_edge(START, "brief")
builder.add_edge("brief", "audience")
builder.add_edge("brief", "fieldwork")
builder.add_edge(["audience", "fieldwork"], "split")
builder.add_conditional_edges("split", regions, ["budget"])
builder.add_edge("budget", "report")
builder.add_edge("report", END)

graph = builder.compile(name="branches")
