"""Inputs, outputs and fields of a graph that differ: private ones, managed ones, and those that only nodes write."""

from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import add_messages
from langgraph.managed import RemainingSteps
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.cases.building import chain


class Asked(TypedDict):
    message: str


class Replied(TypedDict):
    reply: str


class Planned(TypedDict):
    plan: str


class Whole(Asked, Replied):
    messages: Annotated[list[AnyMessage], add_messages]
    remaining: RemainingSteps


def start(state: Asked) -> Any:
    return {"plan": f"Answer {state['message']}", "messages": [HumanMessage(state["message"])]}


def send(state: Planned) -> Any:
    return {"reply": f"Sent: {state['plan']}"}


private = chain(
    Whole, of={"start": start, "send": send}, input_schema=Asked, output_schema=Replied
).compile(interrupt_before=["send"])  # fmt: skip


class Joke(TypedDict):
    """A state that is its own input: only the topic is given, the nodes write the rest."""

    topic: str
    joke: str
    better: str


def tell(state: Joke) -> Any:
    return {"joke": f"Why do {state['topic']} fly?"}


def better(state: Joke) -> Any:
    return {"better": f"{state['joke']} {interrupt('Funnier?')}"}


joke = chain(Joke, of={"tell": tell, "better": better}).compile()


class Model(BaseModel):
    """A state that LangGraph coerces."""

    amount: float
    note: str = "none"


coerced = chain(
    Model, of={"read": lambda state: {"note": f"{type(state.amount).__name__} {state.amount}"}}
).compile()  # fmt: skip


class Support(TypedDict):
    problem: str
    messages: Annotated[list[AnyMessage], add_messages]


def describe(state: Support) -> Any:
    given = interrupt("What is wrong?")
    return {"messages": [HumanMessage(given)], "problem": given}


_support = chain(Support, of={"greet": lambda s: {"messages": [AIMessage("Hello.")]}, "describe": describe}).compile()


def finish(state: Whole) -> Any:
    return {"reply": f"{state['messages'][-1].content}, {state['remaining'] > 0}"}


nested = chain(Whole, of={"start": start, "support": _support, "finish": finish}, input_schema=Asked).compile()
