"""Masks know the forms of a secret that errors and logs show, and what is left of one where a text was cut."""

import json
import urllib.parse
from typing import Any

import pytest

from agentcore.plain.excerpts import LONGEST_TEXT, cut, cut_state
from agentcore.plain.masks import MASK, Mask
from agentcore.plain.secret_forms import SecretForms

HALF = "\ud800"
PEM = "-----BEGIN KEY-----\nMIIabcdefgh\nMIIijklmnop\n-----END KEY-----\n"
SECRETS = {
    "quote and backslash": "pa'ss\\word-42",
    "both quotes": "pa'ss\"word-42",
    "backslash before a quote": "pass\\'word-42",
    "of lines": PEM,
    "not ASCII": "pässwörd-42-鍵",
    "NUL": "pass\0word-42",
    "half a character": f"pass{HALF}word-42",
    "spaces": "  pass word-42\t",
    "percent": "50%/pass&word",
}


def told_as(secret: str) -> dict[str, str]:
    error = RuntimeError(f"failed with {secret}")
    state = {"key": secret}
    return {
        "as it is": str(error),
        "repr": repr(error),
        "repr, both quotes": repr(RuntimeError(f'it\'s "failed" with {secret}')),
        "repr of a state": repr(RuntimeError(f"failed with {state}")),
        "ascii": ascii(error),
        "JSON": json.dumps(state),
        "JSON, not ASCII": json.dumps(state, ensure_ascii=False),
        "JSON in repr": repr(RuntimeError(f"failed with {json.dumps(state)}")),
        "JSON in JSON": json.dumps({"error": json.dumps(state)}),
        "stripped": f"<{secret.strip()}>",
        "in an address": f"GET /?key={secret if HALF in secret else urllib.parse.quote_plus(secret)}",
    }


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_masked_in_each_form_that_errors_and_logs_give_it(secret: str) -> None:
    mask = Mask(["key"], {"key": secret})
    for form, text in told_as(secret).items():
        shown = mask.anywhere(text)
        assert MASK in shown, (form, shown)
        for part in ("word", "wörd", "w\\xf6rd", "w\\u00f6rd", "MII", "BEGIN", "ss"):
            assert part not in shown, (form, shown)


@pytest.mark.parametrize("line", PEM.split("\n")[:-1])
def test_a_line_of_a_secret_is_masked_alone(line: str) -> None:
    assert Mask(["key"], {"key": PEM}).anywhere(f"  | {line} |") == f"  | {MASK} |"


def test_what_could_be_any_word_is_no_form_of_a_secret() -> None:
    mask = Mask(["key"], {"key": "    of   \nthe\nlonger line of it"})
    assert mask.anywhere("of the longer") == "of the longer"
    assert mask.anywhere("a longer line of it") == f"a {MASK}"


def test_many_forms_are_found_as_few_are() -> None:
    lines = [f"line number {number} é" for number in range(3_000)]
    forms = SecretForms()
    forms.add(["\n".join(lines)])
    text = f"{lines[7]}, {lines[2_999]!a}, and line number, and {json.dumps(lines[:2])}"
    assert forms.replaced(text, "*") == '*, \'*\', and line number, and ["*", "*"]'
    assert forms.replaced("\n".join(lines), "*") == "*"
    assert forms.replaced_in_cut(f"x {lines[1][:-3]}", "*") == "x *"


@pytest.mark.parametrize("left", range(4, 12))
def test_what_is_left_of_a_secret_where_a_text_was_cut_is_masked(left: int) -> None:
    mask = Mask(["key"], {"key": "canary-1-and-more"})
    shown = cut("y" * (2_000 - left) + "canary-1-and-more" + "z" * LONGEST_TEXT)
    assert mask.anywhere(shown)["head"] == "y" * (2_000 - left) + MASK
    assert mask.in_cut("y" * 10) == "y" * 10


def test_an_excerpt_of_many_objects_with_secrets_shows_none() -> None:
    accounts = [{"host": "h" * 400, "token": f"canary-{number}"} for number in range(3_000)]
    values = cut_state({"accounts": accounts})
    assert "canary-0" in str(values), "it is cut before it is masked"
    assert "canary" not in str(Mask(["accounts.token"], values).state(values))


@pytest.mark.parametrize("like", [{"sha256": ""}, {"sha256": "", "head": 7}, {"head": "x"}])
def test_data_that_looks_like_an_excerpt_is_masked_like_any(like: Any) -> None:
    told = {"__type__": "excerpt", "of": "canary-1", **like}
    assert Mask(["key"], {"key": "canary-1"}).anywhere(told)["of"] == MASK
