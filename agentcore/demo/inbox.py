"""A shop's press agent, written for Agent Inbox: it asks with a `HumanInterrupt`, as many older agents do.

draft -> review [pause] -> publish | draft, with what was said | the end
"""

import operator
import re
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt
from pydantic import Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think


class Input(TypedDict):
    """Something the shop wants people to know."""

    topic: Annotated[str, Field(description="What it is about.", max_length=200, examples=["Open again in Utrecht"])]
    facts: Annotated[str, Field(description="What the post may say.", max_length=5_000)]
    channel: Literal["Newsletter", "Mastodon", "LinkedIn"]


class Post(TypedDict):
    """What would be published. The numbers and the switch stay what they are when a person edits them."""

    channel: str
    text: str
    readers: int
    comments: bool


class State(Input):
    """The post while it is written."""

    post: Post
    remarks: Annotated[list[str], operator.add]
    published: str | None


READERS = {"Newsletter": 1_840, "Mastodon": 312, "LinkedIn": 2_975}


async def draft(state: State) -> dict[str, Any]:
    """Write the post; again, when somebody said what is wrong with it."""
    await think()
    post: Post = {
        "channel": state["channel"],
        "text": text(state),
        "readers": READERS[state["channel"]],
        "comments": state["channel"] != "Newsletter",
    }
    return {"post": post, "published": None}


async def review(state: State) -> Command[Literal["draft", "publish", "__end__"]]:
    """Ask, in the words of Agent Inbox, and go where the answer leads."""
    await think()
    [answer] = interrupt([question(state)])
    match answer["type"]:
        case "accept":
            return Command(goto="publish")
        case "edit":
            return Command(update={"post": answer["args"]["args"]}, goto="publish")
        case "response":
            return Command(update={"remarks": [answer["args"]]}, goto="draft")
        case _:
            return Command(goto="__end__")


async def publish(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Put it where everybody reads it."""
    await think()
    return {"published": record("post", {"topic": state["topic"], **state["post"]}, config=config)}


def question(state: State) -> dict[str, Any]:
    """A HumanInterrupt."""
    return {
        "action_request": {"action": "publish_post", "args": state["post"]},
        "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True, "allow_ignore": True},
        "description": f"**{state['topic']}** would go to {state['post']['readers']} readers of our "
        f"{state['channel']}. A response has it written again; ignoring drops it.",
    }


def text(state: State) -> str:
    """The facts in the house's tone, and what was asked for in reply."""
    remarks = state.get("remarks", [])
    facts = state["facts"].strip()
    if any(re.search(r"\bshort", remark, re.IGNORECASE) for remark in remarks):
        facts = re.split(r"(?<=[.!?])\s", facts, maxsplit=1)[0]
    added = "".join(f"\n\n{remark}" for remark in remarks if not re.search(r"\bshort", remark, re.IGNORECASE))
    return f"{state['topic']}! {facts}{added}\n\nYour bicycle people at Van Loon"


builder = StateGraph(State, input_schema=Input)
builder.add_node("draft", draft)
builder.add_node(
    "review",
    review,
    metadata={
        "approval": {
            "title": "Publish the post",
            "description": "Puts the post where the shop's customers read it.",
            "summary": "{topic}, on {channel}",
            "headline": "Publish {topic} on {channel}",
            "detail": "{facts}",
            "risk": "public",
            "show": ["topic", "facts", "post", "remarks"],
        }
    },
)
builder.add_node("publish", publish)
builder.add_edge(START, "draft")
builder.add_edge("draft", "review")
builder.add_edge("publish", END)

graph = builder.compile(name="inbox")
