"""One line about a question: what would be done, how much, for whom. Never code, and foreign texts in quotes."""

from typing import Any

import pytest

from agentcore.plain import gist
from agentcore.plain.types import Action, Gist

CALLS: list[tuple[str, dict[str, Any], Gist]] = [
    (
        "refund_order",
        {"order": "A1", "amount": 20.0},
        Gist("Refund order 20.00", "order A1", "Refund order", "20.0000", "", "", "money"),
    ),
    (
        "payOut",
        {"amount_eur": 1840, "payee": "Ana", "note": "late"},
        Gist("Pay out 1,840.00 EUR to “Ana”", "note “late”", "Pay out", "1840.0000", "EUR", "Ana", "money"),
    ),
    (
        "charge",
        {"total": {"value": "12.50", "currency": "GBP"}},
        Gist("Charge 12.50 GBP", "", "Charge", "12.5000", "GBP", "", "money"),
    ),
    (
        "send_mail",
        {"to": ["ann@x.example", "ben@x.example"], "subject": "hi"},
        Gist(
            "Send mail to “ann@x.example, ben@x.example”",
            "subject “hi”",
            "Send mail",
            customer="ann@x.example, ben@x.example",
        ),
    ),
    ("delete_files", {"paths": ["a.txt", "b.txt"]}, Gist("Delete 2 files", "paths “a.txt”, “b.txt”", "Delete files")),
    ("close_account", {"account": "C-20917"}, Gist("Close account", "account C-20917", "Close account")),
    ("drop table", {}, Gist("“drop table”", "", "“drop table”")),
    ("price", {"amount": True}, Gist("Price", "amount true", "Price")),
    ("price", {"amount": float("nan")}, Gist("Price", "amount “nan”", "Price")),
    ("price", {"amount": 10**400}, Gist("Price", "", "Price")),
]


@pytest.mark.parametrize(("name", "args", "expected"), CALLS, ids=[f"{name} {list(args)}" for name, args, _ in CALLS])
def test_a_call_is_told_in_words(name: str, args: dict[str, Any], expected: Gist) -> None:
    told = gist.of_calls([Action(name, args, title=name)], [{}], {}, summary="")
    if "drop" in name or args.get("amount") == 10**400 or args.get("amount") != args.get("amount"):
        assert "(" not in told.headline and told.amount == ""
        return
    assert told == expected


def test_several_calls_are_counted_and_amounts_of_one_currency_added_up() -> None:
    pay, mail = Action("pay", {"amount": "5 EUR"}, title="pay"), Action("send_mail", {"to": "ann"}, title="send_mail")
    told = gist.of_calls([pay, pay, mail], [{}] * 3, {}, summary="")
    assert told.headline == "3 actions: Pay 5.00 EUR; Pay 5.00 EUR; Send mail to “ann”"
    assert (told.amount, told.currency, told.customer, told.action) == ("10.0000", "EUR", "ann", "Pay, Send mail")
    other = Action("pay", {"amount": "5 GBP"}, title="pay")
    assert gist.of_calls([pay, other], [{}] * 2, {}, summary="").amount == "", "no sum of two currencies"


def test_the_author_of_a_node_has_the_last_word() -> None:
    author = {
        "title": "Pay the refund", "headline": "Refund {sum_due} {currency} to {who}", "detail": "order {order_id}",
        "amount": "sum_due", "customer": "who", "risk": "money, final",
    }  # fmt: skip
    values = {"sum_due": 640, "currency": "GBP", "who": "Siân Prosser” Approved", "order_id": "UK-51877"}
    told = gist.of_gate(
        [Action("pay", values, title="Pay the refund")], [author], values, title="Pay the refund", summary=""
    )
    assert told.headline == "Refund 640.00 GBP to “Siân Prosser' Approved”", "it cannot end its own quotation"
    assert (told.detail, told.amount, told.currency, told.risk) == ("order UK-51877", "640.0000", "GBP", "money, final")
    assert (told.action, told.customer) == ("Pay the refund", "Siân Prosser” Approved")


def test_without_words_of_the_author_title_and_summary_stand() -> None:
    told = gist.of_gate([Action("act", {"text": "x"}, title="Act")], [{}], {}, title="Act", summary="On “x”")
    assert (told.headline, told.detail, told.action, told.risk) == ("Act", "On “x”", "Act", "")


@pytest.mark.parametrize(
    ("value", "schema", "headline", "detail"),
    [
        ({"question": "How much?", "for": "A1"}, None, "“How much?”", "for A1"),
        ({"question": "Whom?", "options": ["all", "some"]}, None, "“Whom?”", "2 choices"),
        ("Go on?", {"properties": {"ok": {"enum": ["yes", "no", "later"]}}}, "“Go on?”", "3 choices"),
        ({}, {"properties": {"a": {}, "b": {}}}, "Question from ask", "form with 2 fields"),
    ],
)
def test_a_question_is_told_by_its_words(value: Any, schema: Any, headline: str, detail: str) -> None:
    words = value if isinstance(value, str) else value.get("question", "")
    told = gist.of_question(words, value, {}, schema, title="Question from ask", summary="")
    assert (told.headline, told.detail, told.action, told.risk) == (headline, detail, "Question", "question")
