"""A purchasing agent: it knows half of a new supplier, and a person completes the rest in a typed form.

look_up -> ask_details [pause] -> register
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from agentcore.demo.outbox import record, think


class Input(TypedDict):
    """A supplier somebody wants to buy from."""

    supplier: Annotated[str, Field(description="Name on the offer.", max_length=200, examples=["Holmgren Timber AB"])]
    wanted_by: Annotated[str, Field(title="Wanted by", description="Who asks for it.", examples=["Lucía Navarro"])]
    offer: Annotated[str, Field(description="What they sell us, and for how much.", max_length=5_000)]


class State(Input):
    """The supplier while it is taken in. `details` is a plain object, so that any console can read the checkpoint."""

    known: dict[str, Any]
    details: dict[str, Any]
    registered: str | None


# What the person fills in. The answer is checked against it before LangGraph keeps it.


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Address(_Part):
    """Where the supplier is registered."""

    street: str = Field(description="Street and number.", max_length=100)
    postcode: str = Field(pattern=r"^[A-Z0-9][A-Z0-9 -]{2,9}$", examples=["113 51"])
    city: str = Field(max_length=100)
    country: Literal["DE", "ES", "FR", "GB", "NL", "PL", "SE"]


class Role(StrEnum):
    """What a contact is for."""

    ORDERS = "orders"
    INVOICES = "invoices"
    COMPLAINTS = "complaints"


class Contact(_Part):
    """A person at the supplier's."""

    name: str = Field(min_length=2, max_length=100)
    email: str = Field(pattern=r"^[^@\s]+@[^@\s]+$", examples=["orders@holmgren-timber.example"])
    role: Role


class Transfer(_Part):
    """Paid by bank transfer."""

    method: Literal["transfer"]
    iban: str = Field(title="IBAN", pattern=r"^[A-Z]{2}\d{2}[A-Z0-9]{11,30}$", description="Without spaces.")
    days: int = Field(30, title="Days to pay", description="After the invoice has come.", ge=7, le=90)


class Card(_Part):
    """Paid with the company card at once."""

    method: Literal["card"]
    limit: float = Field(description="Most that one order may cost.", gt=0, le=10_000)


class Details(_Part):
    """What purchasing must know before the first order."""

    legal_name: str = Field(title="Legal name", description="As in the register.", min_length=2, max_length=200)
    vat_id: str | None = Field(None, title="VAT number", description="Leave it out if they have none.", max_length=20)
    category: Literal["material", "services", "transport", "other"]
    address: Address
    valid_from: date = Field(title="Valid from", description="First day on which we may order.")
    contacts: list[Contact] = Field(description="At least one.", min_length=1, max_length=5)
    payment: Transfer | Card = Field(discriminator="method", description="How they are paid.")
    sanctions_checked: bool = Field(title="Sanctions list checked", description="Confirm that you have looked.")


REGISTER = {
    "Holmgren Timber AB": {"legal_name": "Holmgren Timber Aktiebolag", "vat_id": "SE556012579001", "country": "SE"},
    "Lodz Freight": {"legal_name": "Lodz Freight sp. z o.o.", "country": "PL"},
}


async def look_up(state: State) -> dict[str, Any]:
    """See what the public register says."""
    await think()
    return {"known": dict(REGISTER.get(state["supplier"], {})), "registered": None}


async def ask_details(state: State) -> dict[str, Any]:
    """Have a person complete what the register does not know."""
    await think()
    question = {
        "question": f"What must we know about {state['supplier']} before we order there?",
        "offer": state["offer"],
        "known": state["known"],
    }
    details = interrupt(question, response_schema=Details)
    return {"details": details.model_dump(mode="json")}


async def register(state: State, config: RunnableConfig) -> dict[str, Any]:
    """Put the supplier into the list that orders are made from."""
    await think()
    entry = {"supplier": state["supplier"], "wanted_by": state["wanted_by"], **state["details"]}
    return {"registered": record("supplier", entry, config=config)}


builder = StateGraph(State, input_schema=Input)
builder.add_node("look_up", look_up)
builder.add_node(
    "ask_details",
    ask_details,
    metadata={
        "approval": {
            "title": "Complete the supplier's details",
            "description": "With them the supplier is put into the list that orders are made from.",
            "summary": "{supplier}, wanted by {wanted_by}",
            "customer": "supplier",
            "show": ["supplier", "wanted_by", "offer", "known"],
        }
    },
)
builder.add_node("register", register)
builder.add_edge(START, "look_up")
builder.add_edge("look_up", "ask_details")
builder.add_edge("ask_details", "register")
builder.add_edge("register", END)

graph = builder.compile(name="onboarding")
