"""Letters that stand in the place of digits, in account numbers and other figures."""

import re
from collections.abc import Iterator

_BANK = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9OoIlQ]{2}(?=[ \u00a0-]?[A-Za-z0-9])")
_FIGURE = re.compile(r"(?<![\w.,-])[0-9OolI](?:[ \u00a0./-]?[0-9OolI]){7,40}(?![\w-])")
_SHORT_FIGURE = re.compile(r"[0-9OolI]{2,}(?:[.,][0-9OolI]{1,3})*")
_AMOUNT = re.compile(
    r"(?:account|acct|amount|card|iban|konto|limit|number|phone|price|quantity|routing|sort|sum|total)", re.I
)
_LENGTHS = {
    each[:2]: int(each[2:])
    for each in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18"
        " FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20"
        " LU20 LV21 LY25 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24"
        " SI19 SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20"
    ).split()
}
"""Characters of an IBAN, by country."""
_TO_DIGITS = str.maketrans("OoQIil", "000111")
_ONLY_DIGITS = frozenset("AE AT BE BA CZ DE DK EE ES FI HR HU IS LT ME NO PL PT RS SE SI SK TN XK".split())
"""Countries whose account numbers hold no letter after the two of the country."""


def figures_marked(text: str, name: str = "") -> Iterator[str]:
    """Yield each number in which a letter stands for a digit. `name` of the argument: of an amount, short ones too."""
    seen = list(_banks(text))
    yield from seen
    for found in _FIGURE.finditer(text):
        if _is_spoiled(found[0], least=6) and not any(found[0] in each for each in seen):
            yield found[0]
    if _AMOUNT.search(name) and _SHORT_FIGURE.fullmatch(text.strip()) and _is_spoiled(text.strip(), least=1):
        yield text.strip()


def _banks(text: str) -> Iterator[str]:
    for start in _BANK.finditer(text):
        if found := _whole(text[start.start() :], _LENGTHS.get(text[start.start() : start.start() + 2], 0)):
            number = re.sub(r"[ \u00a0-]", "", found)
            meant = number[:2] + number[2:].translate(_TO_DIGITS)
            is_odd = number[:2] in _ONLY_DIGITS or not number[2:4].isdigit() or _is_valid(meant)
            if meant != number and not _is_valid(number) and is_odd:
                yield found


def _whole(text: str, length: int) -> str:
    """Return so many letters and digits from the beginning, with what parts them; empty if there are not so many."""
    found = re.match(rf"(?:[A-Za-z0-9][ \u00a0-]?){{{length - 1}}}[A-Za-z0-9](?![A-Za-z0-9])", text) if length else None
    return found[0] if found and 2 * sum(char.isdigit() for char in found[0]) >= length else ""


def _is_valid(number: str) -> bool:
    """Check the two check digits of an IBAN (ISO 7064, modulo 97)."""
    turned = number[4:] + number[:4]
    return turned.isalnum() and turned.isascii() and int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_spoiled(text: str, *, least: int) -> bool:
    """True if there are at least so many digits, and few letters, one of them inside or a small l in front."""
    digits, letters = sum(map(str.isdigit, text)), sum(map(str.isalpha, text))
    bare = re.sub(r"[ \u00a0./,-]", "", text)
    is_inside = bool(re.search(r"\d[OolI]+(?=\d|$)|^l\d", bare))
    return digits >= least and 0 < letters <= max(1, digits // 2) and is_inside and _touches(text)


def _touches(text: str) -> bool:
    """True if a letter stands right beside a digit."""
    return bool(re.search(r"\d[OolI]|[OolI]\d", text))
