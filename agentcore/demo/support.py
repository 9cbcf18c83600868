"""A bank's support agent: it drafts the reply, and a person reads it before it leaves.

classify -> draft -> compliance_check -> [human_approval] -> deliver
"""

import operator
import re
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from pydantic import Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think

Risk = Literal["low", "medium", "high"]


class Input(TypedDict):
    """A customer's mail that waits for a reply."""

    ticket_id: Annotated[str, Field(title="Ticket", description="Number in the ticket system.", examples=["T-20431"])]
    customer: Annotated[str, Field(description="Full name.", examples=["Amara Okafor"])]
    subject: Annotated[str, Field(description="Subject of the mail.", max_length=200)]
    body: Annotated[str, Field(title="Message", description="What the customer wrote.", max_length=20_000)]


class State(Input):
    """The ticket while the agent works on it."""

    messages: Annotated[list[AnyMessage], add_messages]
    category: str
    draft: str
    compliance: Annotated[list[str], operator.add]
    risk: Risk
    delivered: str | None


# The first that matches wins, so the gravest comes first.
CATEGORIES = {
    "fraud": r"\b(fraud|scam|phishing|stolen|don't recogni[sz]e|never made)",
    "complaint": r"\b(complain|unacceptable|disappointed|ombudsman|compensation)",
    "claim": r"\b(claim|accident|leak|flood|burst|damage)",
    "investment": r"\b(invest|funds?\b|portfolio|pension|savings plan)",
    "account": r"\b(account|card|password|log ?in|address|transfer)",
}

# What a model might well write, the mistakes included: compliance_check is there to find them.
REPLIES = {
    "fraud": (
        "We have blocked your card and opened an investigation. You will not have to pay for "
        "anything you did not authorise while we look into it.\n\n"
        "To speed things up, please reply with your date of birth and the security code on the "
        "back of your card, so that we can match the transactions."
    ),
    "complaint": (
        "I am sorry about the experience you describe. This was our mistake, and I have asked "
        "the team leader to look at what happened and to come back to you.\n\n"
        "We will write to you with the outcome as soon as we have one."
    ),
    "claim": (
        "Thank you for reporting this so quickly. We have opened a claim, and a loss adjuster "
        "will call you within two working days to agree a visit.\n\n"
        "Until then, please keep damaged items and receipts, and take photographs before "
        "anything is repaired. Urgent work that prevents further damage may start at once."
    ),
    "investment": (
        "Our Balanced Growth fund fits what you describe. It has grown by 6.2% a year since "
        "2016, and you can expect the same over the next ten years.\n\n"
        "You can start with 50 a month, and you may change or stop the plan at any time."
    ),
    "account": (
        "We have noted your request. You can follow it in the app under Profile > Requests, "
        "and it is usually done by the end of the next working day.\n\n"
        "If we need a document from you, you will find the upload link in the same place."
    ),
    "general": (
        "Thank you for your question. I have passed it to a colleague who knows the subject, "
        "and you will hear from us within two working days."
    ),
}

RULES = {
    r"guarantee|you can expect|will (earn|grow)|risk[- ]free": (
        "Promises a return. Past growth says nothing about the future; values can fall."
    ),
    r"our (mistake|fault|error)|we accept liability": ("Admits liability before the case has been looked at."),
    r"(reply|write back) with your .*(date of birth|security code|password|pin)": (
        "Asks for security details by mail. We never do; phishing looks like this."
    ),
    r"\b(\d[ -]?){13,19}\b|\b[A-Z]{2}\d{2}( ?[A-Z0-9]{4}){3,7}": (
        "Repeats an account or card number from the customer's mail."
    ),
}
RIGHTS_MISSING = (
    "The complaint-rights paragraph is missing: final response within eight weeks, then the "
    "Financial Ombudsman, free of charge."
)


async def classify(state: State) -> dict[str, Any]:
    """Take the mail in and say what it is about."""
    await think()
    mail = HumanMessage(state["body"], name="customer")
    return {"messages": [mail], "category": categorize(state), "delivered": None}


async def draft(state: State) -> dict[str, Any]:
    """Write a reply in the house's tone."""
    await think()
    return {"draft": reply(state)}


async def compliance_check(state: State) -> dict[str, Any]:
    """List what a regulator would mark in the draft."""
    await think()
    found = findings(state["draft"], category=state["category"])
    return {"compliance": found, "risk": rate(found, category=state["category"])}


async def human_approval(state: State) -> dict[str, Any]:
    """The gate. The graph pauses before this node, which itself does nothing."""
    await think()
    return {}


async def deliver(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Send the reply."""
    await think()
    mail = {
        "ticket_id": state["ticket_id"],
        "to": state["customer"],
        "subject": f"Re: {state['subject']}",
        "text": state["draft"],
    }
    reference = record("mail", mail, config=config)
    return {"messages": [AIMessage(state["draft"])], "delivered": reference}


def categorize(mail: Input) -> str:
    """The first category whose words appear in the mail."""
    text = f"{mail['subject']}\n{mail['body']}".replace("\u2019", "'")
    matches = (name for name, words in CATEGORIES.items() if re.search(words, text, re.IGNORECASE))
    return next(matches, "general")


def reply(state: State) -> str:
    """Greeting, what the customer asked, the answer, and a name below it."""
    quote = first_sentence(state["body"])
    return (
        f"Dear {state['customer']},\n\n"
        f'Thank you for your message. You wrote: "{quote}"\n\n'
        f"{REPLIES[state['category']]}\n\n"
        "Kind regards,\nCustomer Care, Harbour Mutual Bank"
    )


def first_sentence(text: str) -> str:
    """The opening words, at most 200 characters."""
    sentence = re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]
    return sentence if len(sentence) <= 200 else f"{sentence[:199]}…"


def findings(text: str, *, category: str) -> list[str]:
    """One sentence for each rule that the text breaks."""
    found = [finding for rule, finding in RULES.items() if re.search(rule, text, re.IGNORECASE)]
    if category == "complaint" and "ombudsman" not in text.lower():
        found.append(RIGHTS_MISSING)
    return found


def rate(found: list[str], *, category: str) -> Risk:
    """High if two rules are broken or money may be gone already, low if nothing is wrong."""
    if len(found) > 1 or category == "fraud":
        return "high"
    return "medium" if found else "low"


builder = StateGraph(State, input_schema=Input)
builder.add_node("classify", classify)
builder.add_node("draft", draft)
builder.add_node("compliance_check", compliance_check)
builder.add_node(
    "human_approval",
    human_approval,
    metadata={
        "approval": {
            "title": "Send the reply",
            "description": "The draft goes to the customer by mail. Read the compliance findings "
            "first; you can edit the draft.",
            "summary": "{subject}, to {customer}",
            "headline": "Reply to {customer}",
            "detail": "{subject}",
            "risk": "mail",
            "show": ["customer", "subject", "draft", "compliance", "risk"],
        }
    },
)
builder.add_node("deliver", deliver)
builder.add_edge(START, "classify")
builder.add_edge("classify", "draft")
builder.add_edge("draft", "compliance_check")
builder.add_edge("compliance_check", "human_approval")
builder.add_edge("human_approval", "deliver")
builder.add_edge("deliver", END)

graph = builder.compile(interrupt_before=["human_approval"], name="support")
