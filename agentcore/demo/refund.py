"""A shop's refund agent: small sums are paid, large ones go to the senior desk.

check_order -> [pay_refund] | [senior_desk] -> notify_customer
"""

import operator
import re
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from pydantic import Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think

LIMIT = 100.0


class Input(TypedDict):
    """A customer who wants money back."""

    order_id: Annotated[str, Field(title="Order", description="Number on the invoice.", examples=["NL-48213"])]
    customer: Annotated[str, Field(description="Full name.", examples=["Mei-Ling Chen"])]
    reason: Annotated[str, Field(description="Why, in the customer's own words.", max_length=5_000)]
    amount: Annotated[
        float,
        Field(description=f"Above {LIMIT:.2f} the senior desk decides.", gt=0, examples=[49.95]),
    ]
    currency: Literal["EUR", "GBP", "USD", "CHF"]


class State(Input):
    """The request while it is looked at. `limit` is policy, so nobody may ask for their own."""

    limit: float
    risk_notes: Annotated[list[str], operator.add]
    route: str | None
    reference: str | None
    closing_note: str | None


WARNING_SIGNS = {
    r"\b(other|another|different|new) (card|account|iban)\b|crypto|gift ?card": (
        "Wants the money somewhere else than where it came from."
    ),
    r"\b(urgent|immediately|right now|lawyer)": "Presses for a quick payment.",
    r"\bpre-?approved|\b(to|note for) the assistant\b|\bskip the review": (
        "Gives orders to the agent. Nothing in a customer's text can approve a payment."
    ),
    r"\bnever (arrived|came|delivered)|not received\b": (
        "Says that nothing arrived: compare with the carrier's proof of delivery."
    ),
}


async def check_order(state: State) -> dict[str, Any]:
    """Read the request as the fraud desk would."""
    await think()
    return {
        "limit": LIMIT,
        "risk_notes": notes(state),
        "route": None,
        "reference": None,
        "closing_note": None,
    }


async def pay_refund(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Send the money back to the card that paid."""
    await think()
    payment = {
        "order_id": state["order_id"],
        "pay_to": state["customer"],
        "amount": state["amount"],
        "currency": state["currency"],
    }
    return {"route": "paid", "reference": record("refund", payment, config=config)}


async def senior_desk(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Open a case at the senior desk. No money moves."""
    await think()
    case = {
        "order_id": state["order_id"],
        "customer": state["customer"],
        "amount_asked": state["amount"],
        "currency": state["currency"],
        "reason": state["reason"],
        "risk_notes": state["risk_notes"],
    }
    return {"route": "escalated", "reference": record("escalation", case, config=config)}


async def notify_customer(state: State) -> dict[str, Any]:
    """Tell the customer how it ended."""
    await think()
    return {"closing_note": note(state)}


def desk(state: State) -> Literal["pay_refund", "senior_desk"]:
    """Who decides. It is asked again when someone edits the amount during the pause."""
    return "pay_refund" if state["amount"] <= state["limit"] else "senior_desk"


def notes(request: Input) -> list[str]:
    """One sentence for each sign that a person should look twice."""
    found = [warning for sign, warning in WARNING_SIGNS.items() if re.search(sign, request["reason"], re.IGNORECASE)]
    if not re.fullmatch(r"[A-Z]{2}-\d{5,}", request["order_id"]):
        found.append("The order number does not look like one of ours.")
    return found


def note(state: State) -> str:
    """The sentence the customer reads."""
    money = f"{state['amount']:.2f} {state['currency']}"
    if state["route"] == "paid":
        return f"{money} for order {state['order_id']} is on its way ({state['reference']})."
    return (
        f"Your request for {money} is with our senior desk ({state['reference']}). "
        "You will hear from us within three working days."
    )


builder = StateGraph(State, input_schema=Input)
builder.add_node("check_order", check_order)
builder.add_node(
    "pay_refund",
    pay_refund,
    metadata={
        "approval": {
            "title": "Pay the refund",
            "description": "Sends money to the customer's card. Cannot be undone.",
            "summary": "{amount} {currency} to {customer}",
            "headline": "Refund {amount} {currency} to {customer}",
            "detail": "order {order_id}",
            "risk": "money, final",
            "show": ["customer", "order_id", "amount", "currency", "reason", "risk_notes"],
        }
    },
)
builder.add_node(
    "senior_desk",
    senior_desk,
    metadata={
        "approval": {
            "title": "Hand over to the senior desk",
            "description": "Opens a case for a senior colleague. No money moves. An amount edited "
            "to the limit or below is paid instead; the preview shows that.",
            "summary": "{amount} {currency} for {customer}",
            "headline": "Hand over {amount} {currency} for {customer}",
            "detail": "order {order_id}, over the limit of {limit}",
            "risk": "money",
            "show": ["customer", "order_id", "amount", "currency", "limit", "reason", "risk_notes"],
        }
    },
)
builder.add_node("notify_customer", notify_customer)
builder.add_edge(START, "check_order")
builder.add_conditional_edges("check_order", desk)
builder.add_edge("pay_refund", "notify_customer")
builder.add_edge("senior_desk", "notify_customer")
builder.add_edge("notify_customer", END)

graph = builder.compile(interrupt_before=["pay_refund", "senior_desk"], name="refund")
