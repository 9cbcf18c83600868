"""What LangGraph and LangChain document of people in the loop, in our words, with a scripted model."""

import operator
import sqlite3
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.dialects import Calls, record


class Draft(TypedDict, total=False):
    text: str
    age: int
    status: str
    parts: Annotated[list[str], operator.add]


# Approve or reject: the answer says where to go.


def approve_draft(state: Draft) -> Command[Literal["publish", "drop"]]:
    is_fine = interrupt({"question": "Publish this?", "draft": state["text"]})
    return Command(goto="publish" if is_fine else "drop")


def publish(state: Draft) -> Draft:
    return {"status": "published"}


def drop(state: Draft) -> Draft:
    return {"status": "dropped"}


_publishing: StateGraph[Any, Any, Any, Any] = StateGraph(Draft)
_publishing.add_node("approve_draft", approve_draft)
_publishing.add_node("publish", publish)
_publishing.add_node("drop", drop)
_publishing.add_edge(START, "approve_draft")
_publishing.add_edge("publish", END)
_publishing.add_edge("drop", END)
publishing = _publishing.compile(name="publishing")


# Review and edit the state: the answer replaces what the model wrote.


def summarise(state: Draft) -> Draft:
    return {"text": f"In short: {state['text']}"}


def review(state: Draft) -> Draft:
    answer = interrupt({"task": "Correct the summary.", "summary": state["text"]})
    return {"text": answer["summary"]}


_reviewing: StateGraph[Any, Any, Any, Any] = StateGraph(Draft)
_reviewing.add_sequence([summarise, review])
_reviewing.add_edge(START, "summarise")
reviewing = _reviewing.compile(name="reviewing")


# Validate what people type: ask until it is right.


def ask_age(state: Draft) -> Draft:
    prompt = "How old are you?"
    while True:
        answer = interrupt(prompt)
        if isinstance(answer, int) and answer > 0:
            return {"age": answer}
        prompt = f"{answer!r} is no age. How old are you, in whole years?"


_validating: StateGraph[Any, Any, Any, Any] = StateGraph(Draft)
_validating.add_sequence([ask_age])
_validating.add_edge(START, "ask_age")
validating = _validating.compile(name="validating")


# Several questions at once, each answered by its id.


def _revise(name: str) -> Any:
    def revise(state: Draft) -> Draft:
        return {"parts": [interrupt({"revise": name})]}

    return revise


_revising: StateGraph[Any, Any, Any, Any] = StateGraph(Draft)
for _name in ("title", "body"):
    _revising.add_node(f"revise_{_name}", _revise(_name))
    _revising.add_edge(START, f"revise_{_name}")
revising = _revising.compile(name="revising")


# A tool that asks before it acts.


@tool
def book_hotel(hotel: str, config: RunnableConfig) -> str:
    """Book a room."""
    answer = interrupt(f"May I call book_hotel with hotel {hotel}? Accept it, or edit the hotel.")
    if answer["type"] == "edit":
        hotel = answer["args"]["hotel"]
    elif answer["type"] != "accept":
        raise ValueError(f"There is no answer {answer['type']}.")
    return record("book_hotel", config, hotel=hotel)


@tool
def send_email(to: str, subject: str, config: RunnableConfig) -> str:
    """Send a mail."""
    answer = interrupt({"action": "send_email", "to": to, "subject": subject, "message": "Send this mail?"})
    if answer.get("action") != "approve":
        return "The mail was cancelled."
    return record("send_email", config, to=answer.get("to", to), subject=answer.get("subject", subject))


booking = create_agent(Calls(), [book_hotel, send_email], name="booking")


# LangChain's middleware, as its page introduces it.


@tool
def write_file(path: str, content: str, config: RunnableConfig) -> str:
    """Write a file."""
    return record("write_file", config, path=path, content=content)


@tool
def execute_sql(query: str, config: RunnableConfig) -> str:
    """Run a statement."""
    return record("execute_sql", config, query=query)


@tool
def read_data(table: str, config: RunnableConfig) -> str:
    """Read a table."""
    return record("read_data", config, table=table)


@tool
def ask_user(question: str) -> str:
    """Ask the person: whoever reviews this call answers in its place."""
    raise AssertionError("never called")


filing = create_agent(
    Calls(),
    [write_file, execute_sql, read_data, ask_user],
    name="filing",
    middleware=[
        HumanInTheLoopMiddleware(
            interrupt_on={
                "write_file": True,
                "execute_sql": {"allowed_decisions": ["approve", "reject"], "description": "Look at the statement."},
                "ask_user": {"allowed_decisions": ["respond"]},
                "read_data": False,
            },
            description_prefix="Waits for a person",
        )
    ],
)


# An agent that asks a database, whose statements are reviewed in the older dialect.


def write_query(state: MessagesState) -> dict[str, Any]:
    call = {"name": "run_query", "args": {"query": str(state["messages"][-1].content)}, "id": "call-1"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def run_query(state: MessagesState) -> dict[str, Any]:
    """Has each statement reviewed: taken as it is, changed, or answered with what to do instead."""
    [call] = state["messages"][-1].tool_calls  # type: ignore[union-attr]
    request = {
        "action_request": {"action": call["name"], "args": call["args"]},
        "config": {"allow_accept": True, "allow_edit": True, "allow_respond": True},
        "description": "Review the statement.\nIt runs on the shop's database.",
    }
    answer = interrupt([request])[0]
    query = answer["args"]["args"]["query"] if answer["type"] == "edit" else call["args"]["query"]
    if answer["type"] == "response":
        return {"messages": [ToolMessage(f"The person says: {answer['args']}", tool_call_id=call["id"])]}
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE genre AS SELECT 'Rock' AS name UNION SELECT 'Jazz'")
        found = database.execute(query).fetchall()
    database.close()
    return {"messages": [ToolMessage(str(found), tool_call_id=call["id"])]}


_querying: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState)
_querying.add_sequence([write_query, run_query])
_querying.add_edge(START, "write_query")
querying = _querying.compile(name="querying")


# The functional way to write a graph.


@task
def write_essay(topic: str) -> str:
    return f"An essay about {topic}."


@entrypoint()
def essay(input: dict[str, Any]) -> dict[str, Any]:
    written = write_essay(input["topic"]).result()
    return {"essay": written, "review": interrupt({"question": "Is it good?", "essay": written})}
