"""A payments desk: each gated call is a question of its own, with a form made from the tool's arguments.

model -> tools, one task for each call -> [pause, one for the call] -> model
"""

import re
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from pydantic import Field

from agentcore.demo.model import Conversation, ToolCall, Turns, chat_model
from agentcore.demo.outbox import record, think

PROMPT = "You work at the payments desk of a furniture shop. Carry out what the mail asks for with your tools."


@tool
async def refund_order(
    order: Annotated[str, Field(description="Number on the invoice.", pattern=r"^[A-Z]{2}-\d{5}$")],
    amount: Annotated[float, Field(description="What the customer gets back.", gt=0, le=5_000)],
    currency: Literal["EUR", "GBP", "USD", "CHF"],
    config: RunnableConfig,
) -> str:
    """Pay money back to the card that paid the order."""
    await think()
    payment = {"order_id": order, "amount": amount, "currency": currency}
    return "paid as " + record("refund", payment, config=config)


@tool
async def close_account(
    account: Annotated[str, Field(description="Number of the customer account.", examples=["C-20917"])],
    reason: Annotated[str, Field(description="Why; the customer reads it.", max_length=500)],
    config: RunnableConfig,
) -> str:
    """Close a customer's account and delete the cards stored in it."""
    await think()
    return "closed as " + record("closing", {"account": account, "reason": reason}, config=config)


def script(request: str) -> Turns:
    """One turn, with a call for each order that has an amount, and each account that is to be closed."""
    refunds = re.findall(r"\b([A-Z]{2}-\d{5})\b[^.]*?\b(\d+(?:\.\d\d)?) (EUR|GBP|USD|CHF)", request)
    calls = [
        ToolCall("refund_order", {"order": order, "amount": float(amount), "currency": currency})
        for order, amount, currency in refunds
    ]
    for account in re.findall(r"\bclose\b[^.]*?\b(C-\d+)", request, re.IGNORECASE):
        calls.append(ToolCall("close_account", {"account": account, "reason": "Closed at the customer's own request."}))
    return [calls] if calls else []


gates = HumanInTheLoopMiddleware(
    interrupt_on={
        "refund_order": {
            "allowed_decisions": ["approve", "edit", "reject"],
            "description": "Sends money to the customer's card. Cannot be undone.",
        },
        "close_account": {
            "allowed_decisions": ["approve", "edit", "reject", "respond"],
            "description": "Closes the account for good. Open orders are still delivered.",
        },
    },
    interrupt_mode="per_call",
)

graph: Any = create_agent(
    chat_model(script),
    tools=[refund_order, close_account],
    system_prompt=PROMPT,
    middleware=[gates],
    state_schema=Conversation,
    name="desk",
)
