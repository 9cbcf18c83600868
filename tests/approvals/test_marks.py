"""What is flagged in what an agent asks, and what is left alone; and which values are folded."""

# ruff: noqa: E501

import json
from collections.abc import Iterator
from typing import Any

import pytest

from agentcore.demo.cases import CASES, QUESTIONS
from approvals.domain.folds import COLUMNS, MOST_LINES, fold_of, gaps, part_of, parts_of, value_at
from approvals.domain.spoofing.findings import TextSpot, marks_at, marks_of

HOSTILE = {
    "alphabets": [
        "\u0410lice Miller", "P\u0430ul Smith", "Mer\u0441edes GmbH", "\u0391lpha Bank", "Visit \u0430\u0440\u0440\u04cf\u0435 today",
        "\u0430\u0440\u0440\u04cf\u0435", "Pay \u0421\u043e\u0441\u043e now", "\U0001d40f\U0001d41a\U0001d432 now", "B\u043eb \uff21lice", "\u13a1olex Ltd",
    ],
    "host": [
        "paypa1.com", "https://rnicrosoft.com/in", "PayPaI.com", "\u0430\u0440\u0440\u04cf\u0435.com", "p\u0430ypal.com", "xn--pypal-4ve.com",
        "xn--80ak6aa92e.com", "xn--mnchen-3ya.de", "vvhatsapp.com", "faceb00k.com", "g00gle.com", "goog1e.com",
        "\u0262oogle.com", "arnazon.com", "clropbox.com", "paypal.com.evil.example", "login.micros0ft.com",
        "paypa1-secure.com", "https://paypal.com\u2044x.evil.example/", "ines@rnicrosoft.com", "app1e.com", "\u0455tripe.com",
        "paypal\u3002com", "see evil\uff0eexample", "http://2130706433/x", "https://0x7f000001", "microsoft.com-login.example",
    ],
    "user": [
        "https://paypal.com@evil.example/x", "http://admin:secret@10.0.0.1/", "https://good.example\\@evil.example/",
        "paypal.com@evil.example", "https://bank.example%2Flogin@evil.example", "https://bank.example\uff20evil.example",
    ],
    "invisible": [
        "pay\u200bpal", "pay\u202eeil", "a\u00adb", "tag\U000e0041", "a\ufe0fb", "a\u200db", "ok\u2800pay", "x\u3164y", "nul\x00", "a\u2066b", "w\u2060j",
    ],
    "stacked": ["p\u0336a\u0336y", "z\u0308\u0308\u0308a", "1\u03010", "\u0430\u0489", "a\u20ddb"],
    "figures": [
        "DE89 37O4 0044 0532 0130 00", "DE89 37O4 0044 0532 0130 00 please", "GB29 NWBK 6O16 1331 9268 19",
        "ES91 2100 0418 4502 0005 l332", "NO93 86O1 1117 947", "4O12 8888 8888 1881", "l234567890", "0l0 555 1234 99",
        "FR14 2OO4 1010 0505 0001 3M02 606", "DE89 3704 0044 0S32 0130 00", "DE8937040044053201300", "DE89 3704 0044 0532 0130 0",
        "GB29 NWBK 6016 133I 9268 19", "BE68 S390 0754 7034", "12345678S0", "40128888888B1881", "123\u04174567890", "DE89 37\u041e4 0044 0532 0130 00",
    ],
    "digits": ["\u0661\u0662\u0663", "1\u06623", "\uff11\uff12\uff10", "\U0001d7cf\U0001d7ce\U0001d7ce EUR", "pay \u0967\u0966\u0966 EUR"],
    "direction": ["abc\u05e9\u05dc\u05d5\u05ddexe", "invoice\u0645pdf", "\u05d1paypal"],
}  # fmt: skip
HOSTILE_NAMES = {
    "alphabets": ["transf\u0435r", "\u0440\u0430\u0443\u0440\u0430", "s\u0435nd_mail", "am\u03bfunt"],
    "invisible": ["pay\u200b", "\u202eyap"],
    "stacked": ["pa\u0336y", "am\u0317ount"],
    "name": ["Approved by alice, 2 of 2. No further action needed. " * 3, "x" * 119, "to\n\nApproved", "a  b", "to "],
}
LEGITIMATE = [
    *("Nguy\u1ec5n Th\u1ecb Lan Anh|Y\u0131ld\u0131r\u0131m \u00d6zt\u00fcrk|S\u00f8ren \u00c5kesson|Zo\u00eb Fran\u00e7ois|Jos\u00e9 Mu\u00f1oz|\u0141ukasz \u017b\u00f3\u0142\u0107|Ji\u0159\u00ed Dvo\u0159\u00e1k|\u0218tefan \u021aepe\u0219".split("|")),
    *("\u00de\u00f3r\u00f0ur J\u00f3nsson|Ngozi \u1eb8\u0301k\u1ecd\u0301|\u1eccl\u00e1|Siobh\u00e1n O\u2019Brien|D\u2019Angelo|Jean-Luc L\u00e9v\u00eaque|M\u00fcller-L\u00fcdenscheidt|Bj\u00f6rk|\u0160ar\u016bnas|K\u0101rlis \u0136\u0113ni\u0146\u0161".split("|")),
    *("\u0410\u043b\u0435\u043a\u0441\u0435\u0439 \u0418\u0432\u0430\u043d\u043e\u0432|\u041e\u043b\u0435\u043d\u0430 \u0428\u0435\u0432\u0447\u0435\u043d\u043a\u043e|\u041c\u041e\u0421\u041a\u0412\u0410|\u0410\u043d\u043d\u0430|\u0413\u0435\u043e\u0440\u0433\u0438 \u0421\u0442\u043e\u0435\u0432|\u0392\u03b1\u03c3\u03af\u03bb\u03b7\u03c2 \u03a0\u03b1\u03c0\u03b1\u03b4\u03cc\u03c0\u03bf\u03c5\u03bb\u03bf\u03c2|\u1f48\u03b4\u03c5\u03c3\u03c3\u03b5\u03cd\u03c2|\u0540\u0561\u0575\u056f\u0561\u0576".split("|")),
    *("\u738b\u5c0f\u660e|\u5c71\u7530\u592a\u90ce|\u845b\U000e0100\u57ce\u5e02|\uff21\uff22\uff23\u682a\u5f0f\u4f1a\u793e|T\u30b7\u30e3\u30c4|\uae40\ubbfc\uc218|\u674e Lee|Sony\u30b0\u30eb\u30fc\u30d7".split("|")),
    *("\u05e9\u05dc\u05d5\u05dd \u05db\u05d4\u05df|\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd|\u05d1-Google|\u0645\u062d\u0645\u062f \u0639\u0644\u064a|\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f\u064c|\u0645\u06cc\u200c\u0634\u0648\u062f|\u0661\u0662\u0663 \u0631\u064a\u0627\u0644|\u0634\u0627\u0631\u0639 5".split("|")),
    *("\u0939\u093f\u0928\u094d\u0926\u0940 \u092e\u0947\u0902|\u0915\u094d\u200d\u0937|\u0967\u0968\u0969 \u0930\u0941\u092a\u092f\u0947|\u0938\u0935\u093f\u0924\u093e|\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a|\u0e19\u0e49\u0e33|\u0ba4\u0bae\u0bbf\u0bb4\u0bcd|\u179f\u17bd\u179f\u17d2\u178f\u17b8|\u0f56\u0f7c\u0f51".split("|")),
    *("10 k\u03a9|\u03b1-Tocopherol|25 \u00b5F|\u0394T = 3 K|H\u2082O, m\u00b2|price: 1\u00a0200,50 \u20ac|\u00a31,200|100 \u20bd|\u2153 cup|\u2764\ufe0f|\U0001f468\u200d\U0001f469\u200d\U0001f467|\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f|1\ufe0f\u20e3".split("|")),
    *("paypal.com www.paypal.com apple.com appleid.apple.com login.microsoftonline.com amazon.com.br amazon.co.uk google.com.au zoom.us".split()),
    *("mail.google.com m\u00fcnchen.de \u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444 \u4f8b\u3048.jp \u05d3\u05d5\u05d2\u05de\u05d4.co.il b\u00fccher.example halden.example api.v2.halden.example stearns.example".split()),
    *("ines@halden.example ana.ruiz+news@mail.example.co.uk https://halden.example/a?b=c@d https://medium.example/@ana".split()),
    *("https://ar.wikipedia.org/wiki/\u0627\u0644\u0642\u0627\u0647\u0631\u0629 postgres://app@db.internal/orders ssh://git@github.com/a/b.git git@github.com:a/b.git".split()),
    *("DE89 3704 0044 0532 0130 00|DE89370400440532013000 please pay it|GB29 NWBK 6016 1331 9268 19|FR14 2004 1010 0505 0001 3M02 606".split("|")),
    *("MT84 MALT 0110 0001 2345 MTLC AST0 01S|ES91 2100 0418 4502 0005 1332 now|NL91 ABNA 0417 1643 00|CH93 0076 2011 6238 5295 7|NO93 8601 1117 947".split("|")),
    *("1HGCM82633A004352|WVWZZZ1JZXW000001|12345678Z|123456789B01|NL123456789B01|20261129S0001|US0378331005|BBG000B9XRY4|594918104|ORD-2026-S00017".split("|")),
    *("\u0440\u0430\u0437\u0443\u043c Python\u3002\u4e0b\u4e00\u4e2a|25.11.2026\u0433|\u0410123\u0412\u042177|5\u043a1 1234567|http://192.168.10.1:8000/|550E8400-E29B-41D4-A716-446655440000".split("|")),
    *("4012 8888 8888 1881|+49 30 1234567|NL-48213|INV-2026-00017|550e8400-e29b-41d4-a716-446655440000|2026-11-29T10:00:00Z|192.168.10.1|3.14159|A1B2C3D4".split("|")),
    *("report.final.pdf|main.py|e.g. this|see README.md.|v1.2.0|kubectl scale deploy/checkout --replicas=12|SELECT * FROM orders WHERE id = 10;".split("|")),
    *("Hauptstra\u00dfe 5, 10115 Berlin|12 Rue de l\u2019\u00c9glise, 75001 Paris|\u0443\u043b. \u041b\u0435\u043d\u0438\u043d\u0430, 5|\u6771\u4eac\u90fd\u5343\u4ee3\u7530\u533a1-1|C/ Mayor 3, 28013 Madrid|O\u2019Connell St 10, Dublin".split("|")),
]  # fmt: skip


def kinds(text: str, *, name: str = "", is_name: bool = False) -> set[str]:
    return {mark.kind for mark in marks_at(TextSpot("/x", text, name, is_name))}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in HOSTILE.items() for text in texts])
def test_what_may_not_be_what_it_seems_is_flagged(kind: str, text: str) -> None:
    assert kind in kinds(text)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, names in HOSTILE_NAMES.items() for text in names])
def test_names_of_tools_and_arguments_are_judged_more_strictly(kind: str, text: str) -> None:
    assert kind in kinds(text, is_name=True)
    [mark, *_] = marks_of([{"name": text, "args": {}}], None, {})
    assert mark["place"] == "/actions/0/name"


@pytest.mark.parametrize(
    ("text", "name"), [("1O0.00", "amount"), ("20-OO-00", "sort_code"), ("1\u041e0", "amount"), ("90 l2", "account")]
)
def test_short_figures_are_judged_by_the_name_of_their_argument(text: str, name: str) -> None:
    assert kinds(text, name=name) == {"figures"}
    assert kinds(text, name="note") == set()


def test_a_name_that_is_cut_is_told_with_its_end() -> None:
    [mark] = marks_at(TextSpot("/x", "a" * 120 + "\nto evil", is_name=True))
    assert mark.sentence.endswith(r"aaa\nto evil”.")


def test_a_well_known_host_is_not_accused_beside_its_imitation() -> None:
    found = marks_of([{"name": "mail", "args": {"from": "paypal.com", "to": "paypa1.com"}}], None, {})
    assert [mark["place"] for mark in found] == ["/actions/0/args/to"]


def test_names_hosts_and_numbers_of_the_world_are_left_alone() -> None:
    flagged = [text for text in LEGITIMATE if kinds(text)]
    assert len(LEGITIMATE) >= 120
    assert len(flagged) * 50 <= len(LEGITIMATE), f"more than 2 in 100: {flagged}"


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


def test_the_demo_is_left_alone() -> None:
    texts = [text for case in (*CASES, *QUESTIONS) for text in texts_of(json.loads(json.dumps(case.input)))]
    flagged = [text for text in texts if kinds(text)]
    assert len(texts) >= 50
    assert len(flagged) * 50 <= len(texts), f"more than 2 in 100: {flagged}"


def test_a_host_is_compared_with_the_others_of_its_record() -> None:
    action = {"name": "mail", "args": {"to": "ines@ha1den.example"}}
    [mark] = marks_of([action], None, {"customer": "ines@halden.example"})[:1]
    assert (mark["place"], mark["sentence"]) == (
        "/actions/0/args/to",
        "It looks like halden.example, which stands here too.",
    )
    assert marks_of([action], None, {}) == []


def test_each_argument_is_marked_and_the_state_once() -> None:
    actions = [{"name": "go", "args": {"a": "paypa1.com", "b": ["paypa1.com"]}}]
    found = [
        mark["place"] for mark in marks_of(actions, {"value": "paypa1.com"}, {"x": "paypa1.com", "y": "app1e.com"})
    ]
    assert found == ["/actions/0/args/a", "/actions/0/args/b/0", "/state/y"]


@pytest.mark.parametrize(
    "text", ["a." * 50_000, "a.com@" * 16_000, "DE00 " * 20_000, "O1" * 50_000, "\u0334" * 100_000]
)
def test_a_hostile_text_is_read_once(text: str) -> None:
    """A pattern that goes back and forth would take minutes, in the worker and on the page: the test would time out."""
    list(marks_at(TextSpot("/x", text)))


@pytest.mark.parametrize(
    ("text", "head", "hidden"),
    [
        ("echo ok" + "\n" * 400 + "rm -rf /", "echo ok", "399 blank lines, 1 line more"),
        ("echo ok" + "\n\u00a0" * 400 + "\nrm -rf /", "echo ok", "400 blank lines, 1 line more"),
        ("ok" + " " * 5_000 + "rm -rf /", "ok", "5,000 spaces in a row, 8 more characters of this line"),
        ("\n" * 400 + "rm", "", "399 blank lines, 1 line more"),
        ("x" * (COLUMNS * MOST_LINES + 1), "x" * 350, "491 more characters of this line"),
        ("\n".join("abc"[i % 3] for i in range(25)), "\n".join("abc"[i % 3] for i in range(10)), "15 lines more"),
    ],
)
def test_what_is_taller_than_a_screen_is_folded_and_counted(text: str, head: str, hidden: str) -> None:
    fold = fold_of(text)
    assert fold is not None
    assert (fold.head, fold.hidden) == (head, hidden)
    assert parts_of([{"name": "run", "args": {"command": text}}]) == ["action/0/command"]


@pytest.mark.parametrize("text", ["", "x" * COLUMNS * MOST_LINES, "x\n" * MOST_LINES, "short" + "\n" * 400])
def test_what_fits_is_shown_whole(text: str) -> None:
    assert fold_of(text) is None


def test_letters_that_are_drawn_wide_count_as_they_are_drawn() -> None:
    assert fold_of("\u65e5" * 420) is None
    assert fold_of("\u65e5" * 421) is not None
    assert fold_of("\u200b" * 300) is not None, "each is drawn as a chip"


def test_runs_of_spaces_and_blank_lines_are_counted_in_place() -> None:
    drawn = list(gaps("a" + "\n" * 10 + "b" + " " * 50 + "c\n\n\n\nd"))
    assert drawn == [("a", "9 blank lines"), ("b", "50 spaces"), ("c\n\n\n\nd", "")]


def call(**args: Any) -> dict[str, Any]:
    return {"name": "run", "args": args}


def lines(count: int) -> str:
    return "\n".join("x" * count)


WIRE = call(to="evil", amount=99_999)
TALL = call(**{f"a{number}": lines(20) for number in range(5)})


@pytest.mark.parametrize(
    ("actions", "parts"),
    [
        ([*[TALL] * 30, WIRE], ["action/0", "actions"]),
        ([call(**{f"a{number}": lines(23) for number in range(29)})], ["action/0"]),
        ([call(a=lines(24), b=lines(24)), WIRE], []),
        ([call(a=lines(24), b=lines(24), c=lines(24))], ["action/0"]),
        ([call(**{f"a{number}": 1 for number in range(30)})], []),
        ([WIRE] * 20, []),
        ([WIRE] * 21, ["actions"]),
        ([call(a=[f"item {number}" for number in range(30)])], []),
        ([call(a=[f"item {number}" for number in range(49)])], ["action/0/a"]),
        ([call(a=["x" * 36] * 25)], ["action/0/a"]),
        ([call(**{"": lines(25), "b": 1})], ["action/0"]),
        ([{"name": "ask", "args": lines(25)}], ["action/0"]),
        ([*[WIRE] * 20, call(a=lines(25))], ["action/20/a", "actions"]),
    ],
)
def test_many_values_that_fit_fold_what_comes_after_two_screens(actions: list[Any], parts: list[str]) -> None:
    assert parts_of(actions) == parts
    for part in parts:
        assert value_at(actions, part) is not None


def test_many_arguments_are_a_part_and_long_names_stay_apart() -> None:
    assert parts_of([call(**{f"a{number}": 1 for number in range(31)})]) == ["action/0"]
    long = {"n" * 200 + end: "x\n" * 30 for end in "ab"}
    parts = parts_of([{"name": "run", "args": long}])
    assert len(set(parts)) == 2
    assert all(len(part) < 120 for part in parts)
    assert value_at([{"name": "run", "args": long | {"c": 1}}], part_of(0, "c")) == 1
