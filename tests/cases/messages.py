"""Chats: each annotation and form of messages that LangGraph takes; pictures and thoughts; agents that hand over."""

from collections.abc import Sequence
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.cases.building import chain


class OfBase(TypedDict):
    messages: Annotated[Sequence[BaseMessage], add_messages]


class Bare(TypedDict):
    messages: Annotated[list, add_messages]


def _greeter(state: Any) -> Any:
    return chain(
        state, of={"greet": lambda state: {"messages": [AIMessage("Hello.", id="hello")]}, "send": lambda state: {}}
    ).compile(interrupt_before=["send"])


of_base, of_any, bare = _greeter(OfBase), _greeter(MessagesState), _greeter(Bare)

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Looked(MessagesState):
    summary: str


def look(state: Looked) -> dict[str, Any]:
    asked: list[Any] = [
        {"type": "text", "text": "What is on it?"},
        {"type": "image", "base64": DOT, "mime_type": "image/png"},
    ]
    thought: list[Any] = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "It may be <b>small</b>."}], "id": "r1"},
        {"type": "text", "text": "A dot."},
    ]
    calls: Any = [{"name": "measure", "args": {"unit": "mm"}, "id": "c1"}]
    return {
        "messages": [
            HumanMessage(asked, id="h1"),
            AIMessage(thought, id="a1", tool_calls=calls),
            ToolMessage([{"type": "text", "text": "1 mm"}], tool_call_id="c1", artifact={"raw": b"\x00\x01"}, id="t1"),
            HumanMessage("Forget this.", id="h2"),
        ]
    }


def publish(state: Looked) -> dict[str, Any]:
    return {"summary": str([[block["type"] for block in each.content_blocks] for each in state["messages"]])}


pictures = chain(
    Looked, of={"look": look, "forget": lambda state: {"messages": [RemoveMessage(id="h2")]}, "publish": publish}
).compile(interrupt_before=["publish"])


class Script(BaseChatModel):
    """A chat model that says the next of its turns after each message of a person: a text, or calls of tools."""

    turns: list[Any] = []
    tag: str = "m"

    @property
    def _llm_type(self) -> str:
        return "script"

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **more: Any) -> Any:
        since = max((place for place, each in enumerate(messages) if each.type == "human"), default=-1)
        place = sum(isinstance(each, AIMessage) for each in messages[since + 1 :])
        turn = self.turns[min(place, len(self.turns) - 1)]
        calls = [] if isinstance(turn, str) else turn
        made: Any = [
            {"name": name, "args": args, "id": f"{self.tag}{place}{n}"} for n, (name, args) in enumerate(calls)
        ]
        said = AIMessage(turn if isinstance(turn, str) else "", tool_calls=made)
        return ChatResult(generations=[ChatGeneration(message=said)])


@tool
def book(hotel: str) -> str:
    """Book a hotel."""
    return f"{hotel}: {interrupt({'question': f'Book {hotel}?', 'args': {'hotel': hotel}})}"


@tool
def ask_person(question: str) -> str:
    """Ask the person."""
    return f"The person said {interrupt({'text_to_revise': question})}"


def _handing_over(to: str) -> Any:
    @tool(f"transfer_to_{to}")
    def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Any:
        """Hand over to another agent."""
        said = ToolMessage(f"Transferred to {to}.", tool_call_id=tool_call_id, name=f"transfer_to_{to}")
        return Command(goto=to, graph=Command.PARENT, update={"messages": [said], "active_agent": to})

    return transfer


def _agent(name: str, turns: list[Any], *tools: Any) -> Any:
    return create_agent(Script(turns=turns, tag=name), list(tools), name=name)


class SwarmState(TypedDict):
    """As a swarm has it: the agent that has the word is a field that nobody gives."""

    messages: Annotated[list[AnyMessage], add_messages]
    active_agent: str | None


_swarm: StateGraph[Any, Any, Any, Any] = StateGraph(SwarmState)
_turns = [[("ask_person", {"question": "Hand over to Bo?"})], [("transfer_to_bo", {})], "x"]
_swarm.add_node("ann", _agent("ann", _turns, ask_person, _handing_over("bo")), destinations=("bo",))
_swarm.add_node("bo", _agent("bo", [[("book", {"hotel": "Ritz"})], [("book", {"hotel": "Savoy"})], "Booked."], book))
_swarm.add_conditional_edges(START, lambda state: state.get("active_agent") or "ann", ["ann", "bo"])
swarm = _swarm.compile()


class TeamState(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


_hotel = _agent("hotel", [[("book", {"hotel": "Plaza"})], "The hotel is booked."], book)
_turns = [[("ask_person", {"question": "Which town?"})], [("transfer_to_hotel", {})]]
_chief = _agent("chief", _turns, ask_person, _handing_over("hotel"))
_team: StateGraph[Any, Any, Any, Any] = StateGraph(TeamState)
_team.add_node("chief", _chief, destinations=("hotel",))
_team.add_node("hotel", _hotel)
_team.add_edge(START, "chief")
supervisor = _team.compile()
