"""Questions of every shape: a set as the payload, in a loop, with falsy answers, in the functional API."""

from typing import Any, Literal

from langchain_core.messages import AIMessage, convert_to_messages
from langgraph.func import entrypoint, task
from langgraph.graph import END, MessagesState
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from tests.cases.building import chain


class Trip(TypedDict, total=False):
    town: str
    nights: int
    wish: str


def ask_town(state: Trip) -> Command[Literal["ask_rest"]]:
    town = state.get("town") or interrupt({"Which town?"})
    return Command(update={"town": town}, goto="ask_rest")


def ask_rest(state: Trip) -> Command[Literal["ask_rest", "__end__"]]:
    missing = [name for name in ("nights", "wish") if not state.get(name)]
    if not missing:
        return Command(goto=END)
    return Command(update={missing[0]: interrupt({f"And the {missing[0]}?"})}, goto="ask_rest")


_trip = chain(Trip, of={"ask_town": ask_town})
_trip.add_node("ask_rest", ask_rest)
of_a_set = _trip.compile()


class Year(TypedDict):
    born: int | None


def ask_year(state: Year) -> dict[str, Any]:
    words = "In which year were you born?"
    while True:
        given = interrupt(words)
        if isinstance(given, int) and given > 1900:
            return {"born": given}
        words = f"{given!r} is no year. Write it with four digits."


in_a_loop = chain(Year, of={"ask_year": ask_year}).compile()


class Given(TypedDict, total=False):
    answer: Any
    kind: str


def ask_anything(state: Given) -> dict[str, Any]:
    given = interrupt("Anything?")
    return {"answer": given, "kind": type(given).__name__}


anything = chain(Given, of={"ask_anything": ask_anything}).compile()


class Chat(MessagesState):
    answer: str


def ask_in_a_chat(state: Chat) -> dict[str, Any]:
    """Ask as CopilotKit does: the words under a key of its own, and a list of messages for an answer."""
    said = AIMessage("How many of you?", id="asked")
    given = interrupt({"__copilotkit_interrupt_value__": said.content, "__copilotkit_messages__": [said]})
    return {"answer": str(convert_to_messages(given)[-1].content), "messages": [said]}


in_a_chat = chain(Chat, of={"ask": ask_in_a_chat}).compile()


@task
def draft(about: str) -> str:
    return f"A note about {about}"


@task
def check(text: str, place: int) -> dict[str, Any]:
    return {"text": text, "said": interrupt({"question": f"Check {place}", "draft": text})}


@entrypoint()
def note(about: str) -> dict[str, Any]:
    """Takes a text."""
    text = draft(about).result()
    return {"text": text, "checks": [check(text, place).result()["said"] for place in (1, 2)]}


@entrypoint()
def notes(about: list[str]) -> list[Any]:
    """Takes a list, and asks about all of it at once."""
    checks = [check(each, place) for place, each in enumerate(about)]
    return [each.result()["said"] for each in checks]


@entrypoint()
def inner(about: str) -> str:
    return f"{draft(about).result()}: {interrupt(f'What of {about}?')}"


@entrypoint()
def outer(wanted: dict[str, Any]) -> dict[str, Any]:
    """Calls another entrypoint, which asks."""
    return {"out": inner.invoke(wanted["about"])}


@entrypoint()
def tally(wanted: dict[str, Any], *, previous: Any = None) -> Any:
    """Keeps a sum from one turn to the next, if a person says so."""
    total = (previous or 0) + int(wanted["by"])
    is_kept = interrupt({"question": f"Keep {total}?"})
    return entrypoint.final(value={"total": total, "kept": is_kept}, save=total if is_kept else previous or 0)
