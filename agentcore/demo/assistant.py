"""An office assistant: it may look things up alone, and asks about all calls of a turn in one question.

model -> [pause, one for the turn] -> tools -> model
"""

import re
from datetime import date
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from pydantic import Field

from agentcore.demo.model import Conversation, ToolCall, Turns, chat_model
from agentcore.demo.outbox import record, think

PROMPT = "You are the assistant of Ines Halvorsen, who runs the office of a print shop. Be brief, and use your tools."

NOTES = (
    "Halden Paper: prices go up 6% in April. Priya has the old contract, Tomás the volumes of last year.",
    "Landlord: Mr Brandt, brandt@brandt-properties.example. Wants everything in writing.",
    "price-list-2024.pdf is the one the sales team quoted from by mistake in January.",
)


@tool
async def send_email(
    to: Annotated[str, Field(description="Address of whoever gets it.", examples=["orders@halden-paper.example"])],
    subject: Annotated[str, Field(max_length=200)],
    body: Annotated[str, Field(description="The text, greeting and name included.", max_length=20_000)],
    config: RunnableConfig,
) -> str:
    """Send a mail in Ines Halvorsen's name."""
    await think()
    return "sent as " + record("mail", {"to": to, "subject": subject, "body": body}, config=config)


@tool
async def delete_file(
    path: Annotated[str, Field(description="Path below the shared folder.", examples=["sales/price-list-2024.pdf"])],
    config: RunnableConfig,
) -> str:
    """Delete a file from the shared folder."""
    await think()
    return "deleted as " + record("deletion", {"path": path}, config=config)


@tool
async def schedule_meeting(
    title: Annotated[str, Field(description="What it is about.", max_length=200)],
    day: Annotated[date, Field(description="The day it takes place.")],
    minutes: Annotated[int, Field(description="How long it takes.", ge=5, le=480)],
    attendees: Annotated[list[str], Field(description="Who is invited.", min_length=1)],
    config: RunnableConfig,
) -> str:
    """Put a meeting into the calendars of those who attend."""
    await think()
    meeting = {"title": title, "day": day.isoformat(), "minutes": minutes, "attendees": attendees}
    return "booked as " + record("meeting", meeting, config=config)


@tool
async def search_notes(query: Annotated[str, Field(description="Words to look for.")]) -> str:
    """Search Ines Halvorsen's notes."""
    await think()
    words = re.findall(r"\w{4,}", query.lower())
    return " ".join(note for note in NOTES if any(word in note.lower() for word in words)) or "no note has these words"


# The first whose words appear in the request wins.
SCENES: dict[str, Turns] = {
    r"\bhalden\b": [
        [ToolCall("search_notes", {"query": "Halden Paper price list"})],
        [
            ToolCall(
                "schedule_meeting",
                {
                    "title": "Halden Paper: what the new prices mean for us",
                    "day": "2027-03-11",
                    "minutes": 45,
                    "attendees": ["Priya Raman", "Tomás Aguirre"],
                },
            ),
            ToolCall(
                "send_email",
                {
                    "to": "orders@halden-paper.example",
                    "subject": "Your prices from April",
                    "body": "Dear Halden team,\n\nthank you for the notice. We meet about it on Thursday and will "
                    "call you in the afternoon. Until then please keep our standing order as it is.\n\n"
                    "Kind regards,\nInes Halvorsen",
                },
            ),
            ToolCall("delete_file", {"path": "sales/price-list-2024.pdf"}),
        ],
    ],
    r"\b(roof|leak|landlord)": [
        [ToolCall("search_notes", {"query": "landlord"})],
        [
            ToolCall(
                "send_email",
                {
                    "to": "brandt@brandt-properties.example",
                    "subject": "Water through the roof of hall 2",
                    "body": "Dear Mr Brandt,\n\nsince Sunday water has come through the roof of hall 2, above the "
                    "folding machine. Please send a roofer by Wednesday. We will hold back the rent from then on.\n\n"
                    "Kind regards,\nInes Halvorsen",
                },
            )
        ],
    ],
    r"\b(delete|tidy|clear)": [
        [ToolCall("delete_file", {"path": "scans/2019"}), ToolCall("delete_file", {"path": "scans/2020"})],
    ],
}


def script(request: str) -> Turns:
    """What the model asks for; without a scene for the request, what the notes say about it."""
    found = (turns for words, turns in SCENES.items() if re.search(words, request, re.IGNORECASE))
    return next(found, [[ToolCall("search_notes", {"query": request})]])


gates = HumanInTheLoopMiddleware(
    interrupt_on={
        "send_email": {
            "allowed_decisions": ["approve", "edit", "reject"],
            "description": "Sends a mail in Ines Halvorsen's name. It cannot be called back.",
        },
        "delete_file": {
            "allowed_decisions": ["approve", "reject"],
            "description": "Deletes the file for everybody. There is no bin.",
        },
        "schedule_meeting": {
            "allowed_decisions": ["approve", "edit", "reject", "respond"],
            "description": "Invites the people named. An answer instead tells the agent what to do about the meeting.",
        },
    }
)

graph: Any = create_agent(
    chat_model(script),
    tools=[send_email, delete_file, schedule_meeting, search_notes],
    system_prompt=PROMPT,
    middleware=[gates],
    state_schema=Conversation,
    name="assistant",
)
