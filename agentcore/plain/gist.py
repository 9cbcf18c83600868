"""What a question is about, in one line of a list: what would be done, how much, and for whom.

The author of a node says it in its metadata, `{"approval": {"headline": "Refund {amount} {currency} to {customer}"}}`.
Where they do not, it is made from the names and values of the arguments. Texts that came with the data are quoted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from agentcore.plain.errors import storable
from agentcore.plain.quoting import listed, named, quoted, short, told
from agentcore.plain.types import Action, Gist

LONGEST_HEADLINE, LONGEST_DETAIL, LONGEST_NAME, LONGEST_RISK = 200, 300, 120, 40
_LONGEST_TOLD = 60
_MOST_DETAILS = 3
_AMOUNTS = ("amount", "total", "sum", "price", "cost", "fee", "payment", "budget")
_CURRENCIES = ("currency", "currency_code")
_PEOPLE = (
    "customer", "customer_name", "client", "payee", "recipient", "recipients", "beneficiary", "to", "supplier",
    "vendor", "account_holder", "email",
)  # fmt: skip
"""Names of arguments that say for whom something is done, the most certain ones first."""
_FOR = {"customer", "customer_name", "client", "supplier", "vendor", "account_holder"}
_CODE = re.compile("[A-Z]{3}")
_WITH_CODE = re.compile(r"(?:([A-Z]{3}) ?)?(-?[0-9]{1,12}(?:\.[0-9]{1,4})?)(?: ?([A-Z]{3}))?")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LARGEST = Decimal(10) ** 15
_STEP = Decimal("0.0001")
_EMPTY: tuple[Any, ...] = (None, "", [], {})


@dataclass(frozen=True)
class _Figures:
    """What the arguments of one action say, or those of several together."""

    amount: Decimal | None
    currency: str
    customer: str
    preposition: str = "to"
    used: frozenset[str] = frozenset()


def money(amount: Decimal | None, currency: str) -> str:
    """Format an amount for people: `1,840.00 EUR`; nothing where there is none."""
    if amount is None:
        return ""
    places = 2 if amount == round(amount, 2) else 4
    return f"{amount:,.{places}f} {currency}".strip()


def of_gate(
    actions: Sequence[Action],
    authors: Sequence[Mapping[str, Any]],
    values: Mapping[str, Any],
    *,
    title: str,
    summary: str,
) -> Gist:
    """Return the gist of a breakpoint. `authors` has the metadata of each action's node, `values` the state."""
    scopes = [{**values, **_mapping(action.args)} for action in actions]
    lines = [_filled(author.get("headline"), scope) for author, scope in zip(authors, scopes, strict=True)]
    if not all(lines) and title != " + ".join(action.title for action in actions):
        return of_calls(actions, authors, values, summary="")  # its title has arguments in brackets
    details = [_filled(author.get("detail"), scope) for author, scope in zip(authors, scopes, strict=True)]
    figures = _together([_figures_in(scope, author) for author, scope in zip(authors, scopes, strict=True)])
    is_told = bool(lines) and all(lines)
    return _gist(
        figures,
        authors,
        headline=listed(lines, " + ", LONGEST_HEADLINE) if is_told else title,
        detail=listed([*filter(None, details)], " + ", LONGEST_DETAIL) if is_told else summary,
        action=_names(words_of(action.title) for action in actions),
    )


def of_calls(
    actions: Sequence[Action], authors: Sequence[Mapping[str, Any]], values: Mapping[str, Any], *, summary: str
) -> Gist:
    """Return the gist of tool calls: `Refund 20.00 to “Ana”`; of several, their number and what each would do."""
    figures = [_figures_in(_mapping(action.args), author) for action, author in zip(actions, authors, strict=True)]
    lines = [_line(action, each) for action, each in zip(actions, figures, strict=True)]
    count = f"{len(actions)} actions: "
    headline, details = count + listed(lines, "; ", LONGEST_HEADLINE - len(count)), [""]
    if len(actions) == 1:
        scope = {**values, **_mapping(actions[0].args)}
        headline = _filled(authors[0].get("headline"), scope) or lines[0]
        details = [_filled(authors[0].get("detail"), scope) or _rest(actions[0], figures[0]), summary]
    return _gist(
        _together(figures),
        authors,
        headline=headline,
        detail=" · ".join(filter(None, details)),
        action=_names(words_of(action.title or action.name) for action in actions),
    )


def of_question(
    words: str, value: Any, author: Mapping[str, Any], answer_schema: Any, *, title: str, summary: str
) -> Gist:
    """Return the gist of a question that takes an answer. `words` are the agent's own, `title` is ours."""
    args = _mapping(value)
    given = author.get("title")
    otherwise = quoted(words, LONGEST_HEADLINE) if words else given if isinstance(given, str) else title
    details = [_size_of(answer_schema), _filled(author.get("detail"), args) or _beside(args, words) or summary]
    return _gist(
        _figures_in(args, author),
        [author],
        headline=_filled(author.get("headline"), args) or otherwise,
        detail=" · ".join(filter(None, details)),
        action="Question",
        risk="question",
    )


def words_of(name: str) -> str:
    """Return a name of a program as words: `Send mail` for `send_mail` and `sendMail`; another text as it is."""
    if named(name) != name:
        return short(name, LONGEST_NAME) if _is_title(name) else named(name)
    words = [word if word.isupper() and len(word) > 1 else word.lower() for word in _WORD.findall(name)]
    text = " ".join(words)
    return text[:1].upper() + text[1:] or name


def _is_title(name: str) -> bool:
    """Return whether this is a title such as an author gives to a node."""
    return re.fullmatch(r"[\w '’,-]+", name) is not None


def _gist(
    figures: _Figures, authors: Sequence[Mapping[str, Any]], *, headline: str, detail: str, action: str, risk: str = ""
) -> Gist:
    given = next((each["risk"] for each in authors if isinstance(each.get("risk"), str)), "")
    return Gist(
        headline=short(headline, LONGEST_HEADLINE),
        detail=short(detail, LONGEST_DETAIL),
        action=action,
        amount="" if figures.amount is None else str(figures.amount),
        currency=figures.currency,
        customer=figures.customer,
        risk=short(given, LONGEST_RISK) or risk or ("money" if figures.amount is not None else ""),
    )


def _line(action: Action, figures: _Figures) -> str:
    words = [
        _counted(action, figures) or words_of(action.title or action.name),
        money(figures.amount, figures.currency),
    ]
    to = f" {figures.preposition} {told(figures.customer, _LONGEST_TOLD)}" if figures.customer else ""
    return short(" ".join(filter(None, words)) + to, LONGEST_HEADLINE)


def _counted(action: Action, figures: _Figures) -> str:
    """Return `Delete 2 files` for `delete_files(paths=[...])`: one list is given, and the name is a verb and a noun."""
    lists = [value for value in _mapping(action.args).values() if isinstance(value, list) and value]
    words = words_of(action.name).split(" ")
    if len(lists) != 1 or len(words) != 2 or named(action.name) != action.name or figures.customer or figures.amount:
        return ""
    noun, many = words[1].removesuffix("s"), len(lists[0])
    return f"{words[0]} {many} {noun}{'' if many == 1 else 's'}"


def _rest(action: Action, figures: _Figures) -> str:
    rest = [(name, value) for name, value in _mapping(action.args).items() if name not in figures.used]
    parts = [f"{_label(str(name))} {_value(value)}" for name, value in rest if value not in _EMPTY]
    return ", ".join(parts[:_MOST_DETAILS])


def _beside(args: Mapping[str, Any], words: str) -> str:
    """Return what a question says beside its words: `2 choices, for A1`."""
    rest = [
        (str(name), value) for name, value in args.items() if not (isinstance(value, str) and value.strip() == words)
    ]
    parts = [_choices(name, value) or f"{_label(name)} {_value(value)}" for name, value in rest if value not in _EMPTY]
    return ", ".join(parts[:_MOST_DETAILS])


def _choices(name: str, value: Any) -> str:
    is_choice = isinstance(value, list | Mapping) and name.lower() in ("options", "choices")
    return f"{len(value)} choices" if is_choice else ""


def _label(name: str) -> str:
    return words_of(name).lower() if named(name) == name else named(name)


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return listed([told(each, _LONGEST_TOLD) for each in value], ", ", 2 * _LONGEST_TOLD)
    return told(value, _LONGEST_TOLD)


def _size_of(answer_schema: Any) -> str:
    """Say how large the answer is: `3 choices`, `form with 9 fields`."""
    fields = _mapping(_mapping(answer_schema).get("properties"))
    one = next(iter(fields.values()), {}) if len(fields) == 1 else answer_schema
    choices = _mapping(one).get("enum")
    if isinstance(choices, list) and len(fields) < 2:
        return f"{len(choices)} choices"
    return f"form with {len(fields)} fields" if len(fields) > 1 else ""


def _figures_in(args: Mapping[str, Any], author: Mapping[str, Any]) -> _Figures:
    amount_name = _given(author, "amount", args) or _amount_name(args)
    amount, currency = _amount(args.get(amount_name), amount_name)
    code_name = _given(author, "currency", args) or next((name for name in _CURRENCIES if name in args), "")
    if amount is not None and not currency and _CODE.fullmatch(str(args.get(code_name, ""))):
        currency = str(args[code_name])
    name = _given(author, "customer", args) or next((each for each in _PEOPLE if _person(args.get(each))), "")
    used = {amount_name, name, code_name if currency else ""}
    return _Figures(
        amount, currency, _person(args.get(name)), "for" if name in _FOR and not amount else "to", frozenset(used)
    )


def _given(author: Mapping[str, Any], what: str, args: Mapping[str, Any]) -> str:
    """Return the argument that the author names, if it is there."""
    name = author.get(what)
    return name if isinstance(name, str) and name in args else ""


def _amount_name(args: Mapping[str, Any]) -> str:
    found = (name for wanted in _AMOUNTS for name in args if _is_about(str(name), wanted))
    return next((str(name) for name in found if _amount(args[name], str(name))[0] is not None), "")


def _is_about(name: str, wanted: str) -> bool:
    parts = name.lower().split("_")
    return wanted in (parts[0], parts[-1])


def _amount(value: Any, name: str) -> tuple[Decimal | None, str]:
    """Return an amount and its currency, as far as value and name say: 20, `20.00 EUR`, `{amount, currency}`."""
    ending = name.rpartition("_")[2].upper()
    code = ending if ending in ("EUR", "USD", "GBP", "CHF") else ""
    if isinstance(value, Mapping):
        given = str(value.get("currency", ""))
        return _decimal(value.get("amount", value.get("value"))), given if _CODE.fullmatch(given) else code
    if isinstance(value, str):
        found = _WITH_CODE.fullmatch(value.strip())
        return (_decimal(found[2]), found[1] or found[3] or code) if found else (None, "")
    return _decimal(value), code


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):  # ValueError: an int of too many digits
        return None
    return number.quantize(_STEP) + 0 if number.is_finite() and abs(number) < _LARGEST else None


def _person(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        value = listed(value, ", ", LONGEST_NAME)
    return short(value, LONGEST_NAME) if isinstance(value, str) else ""


def _together(found: Sequence[_Figures]) -> _Figures:
    """Add up: the sum where all amounts are in one currency, the person where it is one."""
    amounts = [each.amount for each in found if each.amount is not None]
    currencies = {each.currency for each in found if each.amount is not None}
    people = {each.customer for each in found if each.customer}
    is_one = len(currencies) == 1
    return _Figures(
        amount=_decimal(sum(amounts, Decimal(0))) if is_one else None,
        currency=currencies.pop() if is_one else "",
        customer=people.pop() if len(people) == 1 else "",
    )


def _names(names: Iterable[str]) -> str:
    return listed(list(dict.fromkeys(names)), ", ", LONGEST_NAME)


def _filled(template: Any, values: Mapping[str, Any]) -> str:
    """Fill in a template of the author: `{amount}` and nothing else. Texts are quoted, amounts have two decimals."""
    if not isinstance(template, str):
        return ""
    return storable(re.sub(r"\{(\w+)\}", lambda found: _told(found[1], values.get(found[1], "")), template))


def _told(name: str, value: Any) -> str:
    is_amount = isinstance(value, int | float) and _amount_name({name: value}) == name
    return money(_decimal(value), "") if is_amount else told(value, _LONGEST_TOLD)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
