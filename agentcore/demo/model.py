"""What the demo agents share: the conversation, and the model, which is a script or a real model if there is a key."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any

from langchain.chat_models import init_chat_model
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph.message import add_messages
from pydantic import WithJsonSchema
from typing_extensions import TypedDict

from agentcore.demo.outbox import think

# LangChain's own schema wants each message to be exactly one of twelve kinds; what a user writes fits eight of them.
MESSAGES = {
    "type": "array",
    "title": "Messages",
    "description": "What you ask for, as a message of the user.",
    "minItems": 1,
    "examples": [[{"role": "user", "content": "Refund NL-48213: 12.50 EUR."}]],
    "items": {
        "type": "object",
        "properties": {
            "role": {"type": "string", "title": "Role", "examples": ["user"]},
            "content": {"type": "string", "title": "Content", "maxLength": 20_000},
        },
        "required": ["content"],
    },
}


class Conversation(TypedDict):
    """What an agent is given, with a start form that takes what LangGraph takes. The middleware adds channels."""

    messages: Annotated[list[AnyMessage], WithJsonSchema(MESSAGES), add_messages]


@dataclass(frozen=True)
class ToolCall:
    """One call of a tool."""

    tool: str
    args: dict[str, Any]


Turns = Sequence[Sequence[ToolCall]]
Script = Callable[[str], Turns]
"""From what the user asked to the calls of each turn, before the model says how it ended."""

# Key, the package that uses it, and the model unless DEMO_MODEL names one.
PROVIDERS = (
    ("ANTHROPIC_API_KEY", "langchain_anthropic", "anthropic:claude-sonnet-4-5"),
    ("OPENAI_API_KEY", "langchain_openai", "openai:gpt-5-mini"),
)


def chat_model(script: Script) -> BaseChatModel:
    """Return the scripted model; a real one if there is a key, and its package is installed."""
    for key, package, name in PROVIDERS:
        if os.environ.get(key) and find_spec(package):
            real: BaseChatModel = init_chat_model(os.environ.get("DEMO_MODEL") or name)
            return real
    return ScriptedModel(script=script)


class ScriptedModel(BaseChatModel):
    """Asks for the calls of its script, then says how they ended. The same conversation gets the same answer."""

    script: Script

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **options: Any) -> "ScriptedModel":
        """Return itself: the script knows the tools."""
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=answer(self.script, messages))])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **options: Any,
    ) -> ChatResult:
        await think()
        return self._generate(messages)


def answer(script: Script, messages: Sequence[BaseMessage]) -> AIMessage:
    """The next message: the calls of this turn or, after the last turn, the closing sentence."""
    asked = max(index for index, message in enumerate(messages) if message.type == "human")
    taken = sum(message.type == "ai" for message in messages[asked:])
    turns = script(messages[asked].text)
    token = _token(messages)
    if taken >= len(turns):
        return AIMessage(closing(messages), id=f"said-{token}")
    calls = [
        {"name": call.tool, "args": call.args, "id": f"call-{token}-{number}", "type": "tool_call"}
        for number, call in enumerate(turns[taken], 1)
    ]
    return AIMessage("", tool_calls=calls, id=f"said-{token}")


def closing(messages: Sequence[BaseMessage]) -> str:
    """What became of the calls of the last turn, the refused ones included."""
    last = max((index for index, message in enumerate(messages) if message.type == "ai"), default=len(messages))
    results = [message for message in messages[last:] if isinstance(message, ToolMessage)]
    done = [_outcome(result) for result in results if result.status != "error"]
    refused = [_outcome(result) for result in results if result.status == "error"]
    sentences = [
        f"{word}: {'; '.join(outcomes)}." for word, outcomes in (("Done", done), ("Not done", refused)) if outcomes
    ]
    return " ".join(sentences) or "There is nothing in this that I have a tool for."


def _outcome(result: ToolMessage) -> str:
    """The tool, and its result without what the middleware wrote around it."""
    text = result.text.rpartition("Tool response:\n")[2]
    if text.startswith("User rejected"):
        text = text.partition("with reason: ")[2] or "a person said no"
    return f"{result.name} ({text.rstrip('.')})"


def _token(messages: Sequence[BaseMessage]) -> str:
    """A name for the answer to this conversation: the same when the model is asked again."""
    said = [[message.type, message.content] for message in messages]
    return hashlib.sha256(json.dumps(said, default=str).encode("utf-8", "backslashreplace")).hexdigest()[:12]
