"""What is typed into the search of a list: words, and fields such as `graph:refund amount>500 due<2h`.

Times are counted from the database's clock, so that the SQL of a list stays true.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache

from django.db.models import Q
from django.db.models.functions import Now

_TERM = re.compile(r'(?P<name>[a-z]+)(?P<sign>:|<=|>=|<|>|=)(?P<value>"[^"]*"|\S+)', re.IGNORECASE)
_SPAN = re.compile(r"(\d{1,5}(?:\.\d)?)\s?(min|m|h|d|w)")
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_COMPARED = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte", ":": "exact", "=": "exact"}
_KINDS = {
    "gate": ["breakpoint"],
    "breakpoint": ["breakpoint"],
    "call": ["hitl_batched", "hitl_per_call", "legacy"],
    "tool": ["hitl_batched", "hitl_per_call", "legacy"],
    "question": ["schema", "plain", "raised"],
    "form": ["schema"],
}
MEANINGS = {
    "graph:refund": "of this graph",
    "action:pay": "whose action has this word",
    "for:prosser": "for this customer",
    "amount>500": "more than this; also <, <=, >= and :",
    "currency:GBP": "in this currency",
    "due<2h": "due within two hours, or overdue; due:none has no deadline",
    "age>1d": "waits for longer than a day",
    "risk:final": "with this risk",
    "kind:question": "a question, call or gate",
    "by:olga": "whose run this person started",
    "holder:bob": "that this person reviews now",
    "thread:order-1": "of threads whose id begins so",
}
"""An example of each field, and what it finds."""


class _NotUsable(ValueError):
    """A value that its field cannot have; the message says what it can."""


@dataclass(frozen=True)
class Terms:
    """A search as it was understood. `conditions` are all to be met; `problem` says what could not be read."""

    words: str = ""
    conditions: tuple[Q, ...] = ()
    problem: str = ""


@lru_cache(500)
def terms_of(text: str) -> Terms:
    """Return what is looked for. What looks like a field and is none is looked for as words."""
    conditions: list[Q] = []
    problems: list[str] = []

    def take(found: re.Match[str]) -> str:
        name, value = found["name"].lower(), found["value"].strip('"')
        if name not in _FIELDS:
            if found["sign"] != ":":
                problems.append(f"There is no field “{name}”. Fields are {', '.join(_FIELDS)}.")
            return found[0]
        try:
            conditions.append(_FIELDS[name](found["sign"], value))
        except _NotUsable as problem:
            problems.append(f"“{found[0]}”: {problem}")
        return " "

    words = _TERM.sub(take, text).strip()
    return Terms(words, tuple(conditions), " ".join(problems))


def _text(lookup: str) -> Callable[[str, str], Q]:
    def condition(sign: str, value: str) -> Q:
        if sign not in (":", "="):
            raise _NotUsable("write a colon between field and text.")
        return Q(**{lookup: value})

    return condition


def _kind(sign: str, value: str) -> Q:
    kinds = _KINDS.get(value.lower())
    if kinds is None:
        raise _NotUsable(f"a kind is one of {', '.join(_KINDS)}.")
    return Q(kind__in=kinds)


def _amount(sign: str, value: str) -> Q:
    text = value.replace(",", "")
    if not re.fullmatch(r"-?\d{1,15}(\.\d{1,4})?", text):
        raise _NotUsable("an amount is a number, such as amount>500.")
    return Q(**{f"amount__{_COMPARED[sign]}": Decimal(text)})


def _due(sign: str, value: str) -> Q:
    match value.lower():
        case "none" | "no":
            return Q(due_at=None)
        case "over" | "overdue":
            return Q(due_at__lte=Now())
        case "any" | "yes":
            return Q(due_at__isnull=False)
    return Q(**{f"due_at__{_compared(sign)}": Now() + _span(value)})


def _age(sign: str, value: str) -> Q:
    """A greater age is an earlier time."""
    turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(sign, sign)
    return Q(**{f"created_at__{_compared(turned)}": Now() - _span(value)})


def _compared(sign: str) -> str:
    if sign in (":", "="):
        raise _NotUsable("compare a time with < or >, such as due<2h.")
    return _COMPARED[sign]


def _span(value: str) -> timedelta:
    found = _SPAN.fullmatch(value.lower())
    if not found:
        raise _NotUsable("a time is a number with m, h, d or w, such as due<2h.")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def _holder(sign: str, value: str) -> Q:
    return _text("claimed_by__username__iexact")(sign, value) & Q(claimed_until__gt=Now())


_FIELDS: dict[str, Callable[[str, str], Q]] = {
    "graph": _text("graph_id"),
    "action": _text("action__icontains"),
    "for": _text("customer__icontains"),
    "customer": _text("customer__icontains"),
    "amount": _amount,
    "currency": lambda sign, value: _text("currency")(sign, value.upper()),
    "due": _due,
    "age": _age,
    "risk": _text("risk__icontains"),
    "kind": _kind,
    "by": _text("thread__started_by__username__iexact"),
    "holder": _holder,
    "thread": _text("thread__pk__startswith"),
}
