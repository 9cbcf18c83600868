"""Answers with a schema: fields in an order of their own, limits, steps of a decimal number, unions, lists."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

from langgraph.types import interrupt
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

from tests.cases.building import chain


class Plan(Enum):
    free = "Free"
    team = "Team"


class Line(BaseModel):
    sku: str = Field(min_length=1)
    count: int = Field(1, ge=1, le=99)


class ByCard(BaseModel):
    kind: Literal["card"] = "card"
    last_four: str = Field(pattern=r"^\d{4}$")


class ByIban(BaseModel):
    kind: Literal["iban"] = "iban"
    iban: str


class Sheet(BaseModel):
    """Everything that people put into a form."""

    zeta: str = Field("z", description="The first, although its name begins with the last letter.")
    number: int = Field(ge=3, le=10)
    amount: Decimal = Field(Decimal("0.00"), ge=0, decimal_places=2)
    ratio: float = Field(0.5, gt=0, lt=1, multiple_of=0.1)
    day: date
    at: datetime | None = None
    hour: time = time(9, 0)
    lasts: timedelta = timedelta(minutes=30)
    plan: Plan
    plans: list[Plan] = Field(default_factory=list, max_length=4)
    tags: set[str] = Field(default_factory=set)
    pair: tuple[int, str] = (1, "a")
    lines: list[Line] = Field(default_factory=lambda: [Line(sku="A-1")])
    pay: Annotated[ByCard | ByIban, Field(discriminator="kind")] = ByIban(iban="NL00")
    prices: dict[str, float] = Field(default_factory=dict)
    uid: UUID | None = None
    either: int | str = 5
    sure: Literal[True]
    level: Literal[1, 2, 3] = 2
    anything: Any = None


class Refund(BaseModel):
    amount: float = Field(gt=0, multiple_of=0.01)
    ratio: float = Field(0.5, multiple_of=0.1)


class Topic(TypedDict, total=False):
    topic: str
    got: Any


def _asking(kind: Any) -> Any:
    def ask(state: Topic) -> Any:
        given = interrupt({"question": "Fill this in."}, response_schema=kind)
        return {"got": TypeAdapter(kind).dump_python(given, mode="json") if not isinstance(kind, dict) else given}

    return chain(Topic, of={"ask": ask}).compile()


sheet, refund, choice, yes_or_no = (_asking(kind) for kind in (Sheet, Refund, Literal["a", "b"], bool))
lines = _asking(list[Line])
RAW = {"type": "object", "properties": {"why": {"type": "string", "maxLength": 5}}, "required": ["why"]}
raw = _asking(RAW)
