"""What public template projects are made of, written anew with a scripted model: an agent with a context, one with
memories, one for mail in the older dialect, and one with a plan, files and agents below it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

from langchain.agents import create_agent
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    ModelRequest,
    TodoListMiddleware,
    dynamic_prompt,
)
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Command, interrupt

from tests.cases.messages import Script
from tests.dialects import record


class Told(Script):
    """A scripted model whose turns may depend on what it is told: a function of the messages."""

    def _generate(self, messages: list[Any], stop: Any = None, run_manager: Any = None, **more: Any) -> Any:
        turns = [turn(messages) if callable(turn) else turn for turn in self.turns]
        return Script(turns=turns, tag=self.tag)._generate(messages, stop, run_manager, **more)


# An agent that reasons and acts, with a context of the run.


@dataclass(kw_only=True)
class Context:
    system_prompt: str = field(default="You are kind.", metadata={"description": "The prompt of the agent."})
    model: Annotated[Literal["small", "big"], {"__template_metadata__": {"kind": "llm"}}] = "small"
    max_search_results: int = 2


@dynamic_prompt
def prompt_of_context(request: ModelRequest[Context]) -> str:
    context = request.runtime.context
    return f"{context.system_prompt} ({context.model})"


@tool
async def search(query: str, runtime: ToolRuntime[Context, Any]) -> list[str]:
    """Search."""
    return [f"{query} {number}" for number in range(runtime.context.max_search_results)]


@tool
def publish(text: str, config: RunnableConfig) -> str:
    """Publish a text."""
    return record("publish", config, text=text)


def _prompt(messages: Sequence[Any]) -> str:
    return str(next((each.content for each in messages if isinstance(each, SystemMessage)), "no prompt"))


react = create_agent(
    Told(
        turns=[
            [("search", {"query": "cats"})],
            [("publish", {"text": "Of cats."})],
            lambda told: _prompt(told),
        ]
    ),
    [search, publish],
    context_schema=Context,
    middleware=[prompt_of_context, HumanInTheLoopMiddleware(interrupt_on={"publish": True})],
)


# An agent that keeps memories of its user in the store, beyond the thread.


@dataclass(kw_only=True)
class MemoryContext:
    user_id: str = "default"


async def upsert_memory(content: str, about: str, *, user_id: str, thread_id: str, store: BaseStore) -> str:
    await store.aput((thread_id, "memories", user_id), about, {"content": content})
    return f"Stored memory {about}"


async def call_model(
    state: MessagesState, runtime: Runtime[MemoryContext], config: RunnableConfig, *, store: BaseStore
) -> dict[str, Any]:
    found = await store.asearch((config["configurable"]["thread_id"], "memories", runtime.context.user_id))
    known = (
        "; ".join(f"{item.key}: {item.value['content']}" for item in sorted(found, key=lambda item: item.key))
        or "nothing"
    )
    calls = [("remember", {"content": "cats", "about": "likes"}), ("remember", {"content": "Graz", "about": "town"})]
    model = Told(turns=[calls if not found else f"I know {known}.", f"I know {known}."], tag="m")
    said = await model.ainvoke([SystemMessage(f"You know {known}."), *state["messages"]])
    return {"messages": [said]}


async def store_memory(
    state: MessagesState, runtime: Runtime[MemoryContext], config: RunnableConfig, *, store: BaseStore
) -> dict[str, Any]:
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    who = {"user_id": runtime.context.user_id, "thread_id": config["configurable"]["thread_id"]}
    told = [await upsert_memory(**call["args"], **who, store=store) for call in last.tool_calls]
    said = [ToolMessage(text, tool_call_id=call["id"]) for text, call in zip(told, last.tool_calls, strict=True)]
    return {"messages": said}


def route_message(state: MessagesState) -> Literal["store_memory", "__end__"]:
    return "store_memory" if getattr(state["messages"][-1], "tool_calls", None) else END


_memory: StateGraph[Any, Any, Any, Any] = StateGraph(MessagesState, context_schema=MemoryContext)
_memory.add_node("call_model", call_model)
_memory.add_node("store_memory", store_memory)
_memory.add_edge(START, "call_model")
_memory.add_conditional_edges("call_model", route_message, ["store_memory", END])
_memory.add_edge("store_memory", "call_model")
memory = _memory.compile(interrupt_before=["store_memory"], name="MemoryAgent")


# An assistant for mail, that asks about each call in the dialect of Agent Inbox, and learns from what is edited.


class MailState(MessagesState):
    email_input: dict[str, str]
    classification_decision: NotRequired[Literal["ignore", "respond", "notify"]]


_TURNS = [
    [("ask_question", {"content": "On which day?"})],
    [("write_email", {"to": "ann@example.org", "subject": "Re: Lunch", "content": "Yes."})],
    [("schedule_meeting", {"attendees": ["ann@example.org"], "subject": "Lunch", "minutes": 45})],
    [("done", {"done": True})],
]
_MAY: dict[str, dict[str, bool]] = {
    "ask_question": {"allow_ignore": True, "allow_respond": True, "allow_edit": False, "allow_accept": False},
    "write_email": {"allow_ignore": True, "allow_respond": True, "allow_edit": True, "allow_accept": True},
    "schedule_meeting": {"allow_ignore": True, "allow_respond": True, "allow_edit": True, "allow_accept": True},
}


def _remembered(store: BaseStore, config: RunnableConfig, name: str) -> tuple[tuple[str, ...], str]:
    namespace = (config["configurable"]["thread_id"], "email_assistant", name)
    found = store.get(namespace, "user_preferences")
    return namespace, str(found.value["text"]) if found else "none yet"


def triage(
    state: MailState, config: RunnableConfig, store: BaseStore
) -> Command[Literal["triage_interrupt_handler", "response_agent", "__end__"]]:
    subject = state["email_input"]["subject"]
    decision = "ignore" if "Sale" in subject else "respond" if "?" in subject else "notify"
    goto = {"ignore": END, "respond": "response_agent", "notify": "triage_interrupt_handler"}[decision]
    asked = HumanMessage(f"Respond to the mail: {subject}. Known: {_remembered(store, config, 'triage')[1]}")
    update = {"classification_decision": decision, "messages": [asked] if decision == "respond" else []}
    return Command(goto=goto, update=update)


def triage_interrupt_handler(
    state: MailState, config: RunnableConfig, store: BaseStore
) -> Command[Literal["response_agent", "__end__"]]:
    mail = state["email_input"]
    request = {
        "action_request": {"action": f"Email assistant: {state.get('classification_decision')}", "args": {}},
        "config": {"allow_ignore": True, "allow_respond": True, "allow_edit": False, "allow_accept": False},
        "description": f"**Subject**: {mail['subject']}\n\n{mail['body']}",
    }
    [response] = interrupt([request])
    if response["type"] != "response":
        return Command(goto=END, update={"messages": [HumanMessage("Ignored.")]})
    namespace, _ = _remembered(store, config, "triage")
    store.put(namespace, "user_preferences", {"text": f"respond to {mail['subject']}"})
    asked = HumanMessage(f"The person wants to reply, and says: {response['args']}")
    return Command(goto="response_agent", update={"messages": [asked]})


def llm_call(state: MailState, config: RunnableConfig, store: BaseStore) -> dict[str, Any]:
    said = Script(turns=_TURNS, tag="mail").invoke(state["messages"])
    return {"messages": [said]}


def _carried_out(name: str, args: dict[str, Any], config: RunnableConfig) -> str:
    return "Sent." if name == "done" else record(name, config, **args)


def interrupt_handler(
    state: MailState, config: RunnableConfig, store: BaseStore
) -> Command[Literal["llm_call", "__end__"]]:
    """Ask about each call of the last message, one after the other."""
    last = state["messages"][-1]
    assert isinstance(last, AIMessage)
    result: list[Any] = []
    for call in last.tool_calls:
        description = f"# {call['name']}\n\n{state['email_input']['subject']}"
        request = {
            "action_request": {"action": call["name"], "args": call["args"]},
            "config": _MAY[call["name"]],
            "description": description,
        }
        [response] = interrupt([request])
        match response["type"]:
            case "accept":
                told = _carried_out(call["name"], call["args"], config)
            case "edit":
                edited = response["args"]["args"]
                others = [each for each in last.tool_calls if each["id"] != call["id"]]
                result.append(last.model_copy(update={"tool_calls": [*others, {**call, "args": edited}]}))
                namespace, _ = _remembered(store, config, call["name"])
                store.put(namespace, "user_preferences", {"text": f"as in {edited}"})
                told = _carried_out(call["name"], edited, config)
            case "response":
                told = f"The person says: {response['args']}"
            case _:
                result.append(ToolMessage("The person ignored this.", tool_call_id=call["id"]))
                return Command(goto=END, update={"messages": result})
        result.append(ToolMessage(told, tool_call_id=call["id"]))
    return Command(goto="llm_call", update={"messages": result})


def should_continue(state: MailState) -> Literal["interrupt_handler", "__end__"]:
    calls = getattr(state["messages"][-1], "tool_calls", [])
    return "interrupt_handler" if calls and all(call["name"] != "done" for call in calls) else END


_response: StateGraph[Any, Any, Any, Any] = StateGraph(MailState)
_response.add_node("llm_call", llm_call)
_response.add_node("interrupt_handler", interrupt_handler)
_response.add_edge(START, "llm_call")
_response.add_conditional_edges("llm_call", should_continue, ["interrupt_handler", END])
_mail: StateGraph[Any, Any, Any, Any] = StateGraph(MailState)
_mail.add_node("triage", triage)
_mail.add_node("triage_interrupt_handler", triage_interrupt_handler)
_mail.add_node("response_agent", _response.compile())
_mail.add_edge(START, "triage")
email = _mail.compile()


# A deep agent: a plan, files in the state, agents below it, and calls that people are asked about at each level.


def _merged(files: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    return {**files, **more}


class FileState(AgentState[Any]):
    files: NotRequired[Annotated[dict[str, str], _merged]]


@tool
def write_file(file_path: str, content: str, runtime: ToolRuntime[Any, Any]) -> Any:
    """Write a file, which is kept in the state."""
    said = ToolMessage(f"Updated file {file_path}", tool_call_id=runtime.tool_call_id, name="write_file")
    return Command(update={"files": {file_path: content}, "messages": [said]})


class Files(AgentMiddleware[FileState, Any]):
    state_schema = FileState
    tools = [write_file]


@tool
def send_mail(to: str, subject: str, config: RunnableConfig, body: str = "") -> str:
    """Send a mail."""
    return record("send_mail", config, to=to, subject=subject, body=body)


@tool
def lookup(host: str, config: RunnableConfig) -> str:
    """Look a host up."""
    return record("lookup", config, host=host)


def _delegating(agents: dict[str, Any]) -> Any:
    @tool
    async def task(description: str, subagent_type: str, runtime: ToolRuntime[Any, Any]) -> Any:
        """Have another agent do a part of the work, in a context of its own."""
        given = {"messages": [HumanMessage(description)], "files": runtime.state.get("files", {})}
        came = await agents[subagent_type].ainvoke(given, runtime.config)
        said = ToolMessage(str(came["messages"][-1].content), tool_call_id=runtime.tool_call_id, name="task")
        return Command(update={"files": came.get("files", {}), "messages": [said]})

    return task


def _deep(turns: list[Any], tools: list[Any], interrupt_on: Any, tag: str, more: Callable[[], list[Any]] = list) -> Any:
    gates = [HumanInTheLoopMiddleware(interrupt_on=interrupt_on)] if interrupt_on else []
    return create_agent(
        Script(turns=turns, tag=tag), tools, middleware=[TodoListMiddleware(), Files(), *more(), *gates], name=tag
    )


_REPORT = "# Report\n\n" + "line\n" * 200
_EDITABLE = {"allowed_decisions": ["approve", "edit", "reject"]}
deep = _deep(
    [
        [("write_todos", {"todos": [{"content": "write", "status": "in_progress"}]})],
        [("write_file", {"file_path": "/report.md", "content": _REPORT}), ("lookup", {"host": "a.example"})],
        [("send_mail", {"to": "bo@example.org", "subject": "Report", "body": "see file"})],
        "Done.",
    ],
    [send_mail, lookup],
    {"write_file": _EDITABLE, "send_mail": True, "lookup": False},
    "deep",
)
_host_of_evil = [[("lookup", {"host": "evil.example"})], "Looked up."]
_two_mails = [[("send_mail", {"to": "boss@example.org", "subject": word}) for word in ("One", "Two")], "Mailed."]
_below = {
    "threats": _deep(_host_of_evil, [lookup], {"lookup": _EDITABLE}, "threats"),
    "mailer": _deep(_two_mails, [send_mail], {"send_mail": _EDITABLE}, "mailer"),
}
_both = [
    ("task", {"description": "look up evil.example", "subagent_type": "threats"}),
    ("task", {"description": "mail the boss", "subagent_type": "mailer"}),
]
deep_below = _deep([_both, "Both are done."], [_delegating(_below)], None, "chief")


def _is_secret(request: Any) -> bool:
    return str(request.tool_call["args"]["file_path"]).startswith("/secrets/")


deep_permitted = _deep(
    [[("write_file", {"file_path": f"/{name}", "content": "k"}) for name in ("secrets/key.txt", "ok.txt")], "Done."],
    [],
    {"write_file": {"allowed_decisions": ["approve", "reject"], "when": _is_secret}},
    "permitted",
)
__all__ = ["deep", "deep_below", "deep_permitted", "email", "memory", "react"]
