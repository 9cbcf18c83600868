"""Letters that stand in the place of digits, in account numbers and other figures."""

import re
from collections.abc import Iterator

_BANK = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9OoIlQSBZG]{2}(?=[ \u00a0-]?[A-Za-z0-9])")
_FIGURE = re.compile(r"(?<![\w.,-])[0-9OolI](?:[ \u00a0./-]?[0-9OolI]){7,40}(?![\w-])")
_SHORT_FIGURE = re.compile(r"[0-9OolI]{2,}(?:[ .,/-][0-9OolI]{1,4})*")
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
_FORMATS = {
    each[:2]: each[2:]
    for each in (
        "AD8n12c AL8n16c AZ4a20c BG4a6n8c BH4a14c BR23n1a1c BY4c4n16c CH5n12c CR18n CY8n16c DO4c20n EG25n"
        " FO14n FR10n11c2n GB4a14n GE2a16n GI4a15c GL14n GR7n16c GT4c20c IE4a14n IL19n IQ4a15n IT1a10n12c"
        " JO4a4n18c KW4a22c KZ3n13c LB4n20c LC4a24c LI5n12c LU3n13c LV4a13c MC10n11c2n MR23n MT4a5n18c"
        " MU4a19n3a NL4a10n PK4a16c PS4a21c QA4a21c RO4a16c SA2n18c SC4a20n3a SM1a10n12c ST21n SV4a20n"
        " TL19n TR6n16c UA6n19c VA18n VG4a16n"
    ).split()
}
"""What follows the check digits of an IBAN, by country: n figures, a letters, c either. Others hold figures alone."""
_MOST_WRONG = 4
_LOOKALIKES = "OoQIilSBZG"
_TO_DIGITS = str.maketrans(_LOOKALIKES, "0001115826")
_LETTERS = "\u0370-\u03ff\u0400-\u052f\u0531-\u0587"
_FOREIGN = re.compile(rf"(?<!\w)\d(?:[ \u00a0.-]?[\d{_LETTERS}]){{2,40}}(?!\w)")
_FOREIGN_INSIDE = re.compile(rf"\d[{_LETTERS}](?=\d)")
_CLEARLY_FIGURES = re.compile(r"(?<![\w.,-])\d(?:[ \u00a0-]?[\dSBZG]){8,40}(?![\w-])")
_NO_FIGURES = re.compile(r"(?:19|20)\d{6}.*|\d{9}B\d\d")
"""What begins with a date, and Dutch numbers for VAT."""
_COMPACT = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}[A-Z0-9]{8,32}(?![\w-])")
_LETTER_FOR_DIGIT = "It holds a letter where a digit is expected, such as O for 0, l or I for 1, or S for 5."
_OTHER_LETTER = "It holds a letter among its digits that is easily taken for one: S for 5, B for 8, Z for 2, G for 6."


def figures_marked(text: str, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each number in which a letter stands for a digit, with a sentence. Where `name` is that of an amount, short
    numbers count too.
    """
    seen = list(_banks(text))
    yield from ((found, _LETTER_FOR_DIGIT) for found in seen)
    yield from _wrong_length(text, name)
    for pattern in (_FIGURE, _CLEARLY_FIGURES):
        for found in pattern.finditer(text):
            if any(found[0] in each for each in seen):
                continue
            if pattern is _FIGURE and _is_spoiled(found[0], least=6):
                yield found[0], _LETTER_FOR_DIGIT
            elif pattern is _CLEARLY_FIGURES and _is_clearly_spoiled(found[0]):
                yield found[0], _OTHER_LETTER
    is_amount = bool(_AMOUNT.search(name))
    for found in _FOREIGN.finditer(text):
        if _has_foreign(found[0], least=2 if is_amount else 6):
            yield found[0], "It holds a letter of another alphabet among its digits."
    if is_amount and _SHORT_FIGURE.fullmatch(text.strip()) and _is_spoiled(re.sub(r"[ .,/-]", "", text), least=1):
        yield text.strip(), _LETTER_FOR_DIGIT


def _banks(text: str) -> Iterator[str]:
    for start in _BANK.finditer(text):
        country = text[start.start() : start.start() + 2]
        if found := _whole(text[start.start() :], _LENGTHS.get(country, 0)):
            number = _bare(found)
            meant = number[:2] + number[2:].translate(_TO_DIGITS)
            is_repaired = meant != number and not _is_valid(number) and _is_valid(meant)
            if is_repaired or 0 < _wrong_letters(number) <= _MOST_WRONG:
                yield found


def _wrong_letters(number: str) -> int:
    """Count the letters of an IBAN in places where its country has digits."""
    expected = "nn" + "".join(
        kind * int(count) for count, kind in re.findall(r"(\d+)([nac])", _FORMATS.get(number[:2], ""))
    )
    return sum(
        char.isalpha() and kind == "n" for char, kind in zip(number[2:], expected.ljust(len(number), "n"), strict=False)
    )


def _wrong_length(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield what looks like an IBAN and is up to two characters too short or too long."""
    is_alone = len(text) < 60 and _COMPACT.fullmatch(_bare(text.strip())) and " " in text.strip()
    found = [text.strip()] if is_alone else [each[0] for each in _COMPACT.finditer(text)]
    for shown in found:
        number = _bare(shown)
        length, digits = _LENGTHS.get(number[:2], 0), sum(map(str.isdigit, number))
        most = 8 if "iban" in name.lower() else 2
        if length and 0 < abs(len(number) - length) <= most and 10 * digits >= 7 * len(number):
            yield shown, f"An IBAN of {number[:2]} has {length} characters; this one has {len(number)}."


def _is_clearly_spoiled(text: str) -> bool:
    """Return whether one or two letters stand strictly between 9 digits or more."""
    bare = _bare(text)
    letters = sum(map(str.isalpha, bare))
    is_inside = bare[-1].isdigit() and bool(re.search(r"\d[SBZG]\d", text))
    return 0 < letters <= 2 and len(bare) - letters >= 9 and is_inside and not _NO_FIGURES.fullmatch(bare)


def _has_foreign(text: str, *, least: int) -> bool:
    letters = sum(map(str.isalpha, text))
    return 0 < letters <= 2 and sum(map(str.isdigit, text)) >= least and bool(_FOREIGN_INSIDE.search(text))


def _bare(text: str) -> str:
    return re.sub(r"[ \u00a0-]", "", text)


def _whole(text: str, length: int) -> str:
    """Return the text up to its `length`-th letter or digit, separators included; empty if it has fewer."""
    found = re.match(rf"(?:[A-Za-z0-9][ \u00a0-]?){{{length - 1}}}[A-Za-z0-9](?![A-Za-z0-9])", text) if length else None
    return found[0] if found and 2 * sum(char.isdigit() for char in found[0]) >= length else ""


def _is_valid(number: str) -> bool:
    """Check the two check digits of an IBAN (ISO 7064, modulo 97)."""
    turned = number[4:] + number[:4]
    return turned.isalnum() and turned.isascii() and int("".join(str(int(char, 36)) for char in turned)) % 97 == 1


def _is_spoiled(text: str, *, least: int) -> bool:
    """Return whether there are that many digits and few letters, with a letter inside or a small l in front."""
    digits, letters = sum(map(str.isdigit, text)), sum(map(str.isalpha, text))
    bare = re.sub(r"[ \u00a0./,-]", "", text)
    is_inside = bool(re.search(r"\d[OolI]+(?=\d|$)|^l\d", bare))
    return digits >= least and 0 < letters <= max(1, digits // 2) and is_inside and _touches(text)


def _touches(text: str) -> bool:
    """Return whether a letter stands right beside a digit."""
    return bool(re.search(r"\d[OolI]|[OolI]\d", text))
