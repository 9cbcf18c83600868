"""One small graph with a gate, which Countersign and its peers run alike. It imports nothing of ours."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    """A text, and what was made of it."""

    text: str
    sent: str


def draft(state: State) -> State:
    return {"text": state["text"].strip()}


def send(state: State) -> State:
    return {"sent": state["text"]}


builder = StateGraph(State)
builder.add_node("draft", draft)
builder.add_node("send", send)
builder.add_edge(START, "draft")
builder.add_edge("draft", "send")
builder.add_edge("send", END)
graph = builder.compile(interrupt_before=["send"])
