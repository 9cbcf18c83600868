"""Each word in the name of a module or a public class has an entry in the glossary; no two classes share a name.

`make check` runs this file. Left out: the demo agents, which are programs of their own; commands, which are listed in
docs/reference/commands.md and whose class Django wants to be called `Command`; and migrations.
"""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
LEFT_OUT = {"demo", "commands", "migrations"}
WORDS_AVOIDED = "## Words we avoid"


def modules() -> list[Path]:
    found = [path for package in ("agentcore", "approvals") for path in sorted((ROOT / package).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in found if not LEFT_OUT & set(path.relative_to(ROOT).parts)]


@cache
def public_classes(module: Path) -> list[str]:
    nodes = ast.parse((ROOT / module).read_text()).body
    return [node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def words_in(name: str) -> set[str]:
    """Split CamelCase and snake_case: `HITLCall_2` has the words hitl and call."""
    parts = re.findall(r"[A-Z]+(?=[A-Z][a-z]|[^A-Za-z]|$)|[A-Z]?[a-z]+", name)
    return {singular(part.lower()) for part in parts}


def singular(word: str) -> str:
    if len(word) <= 3 or word.endswith(("ss", "us", "is")):
        return word
    for ending, stem in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if word.endswith(ending):
            return word.removesuffix(ending) + stem
    return word


def entries() -> list[str]:
    """Return the first cell of each row that explains a word."""
    explained = GLOSSARY.read_text().partition(WORDS_AVOIDED)[0]
    cells = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", explained, re.MULTILINE)
    return [cell for cell in cells if cell not in ("word", "---")]


def known_words() -> set[str]:
    explained = GLOSSARY.read_text().partition(WORDS_AVOIDED)[0]
    ordinary = [
        text.partition(":")[2] for text in explained.split("\n\n") if text.startswith(("As their", "Words of a"))
    ]
    assert len(ordinary) == 2
    return {singular(word.lower()) for text in [*entries(), *ordinary] for word in re.findall(r"[A-Za-z]+", text)}


def test_each_word_in_the_name_of_a_module_or_class_has_an_entry() -> None:
    known, missing = known_words(), defaultdict(set)
    for module in modules():
        name = module.parent.name if module.stem == "__init__" else module.stem
        for word in words_in(name) - known:
            missing[word].add(str(module))
        for name in public_classes(module):
            for word in words_in(name) - known:
                missing[word].add(f"{module}: {name}")
    assert dict(missing) == {}, "write a line for each in docs/reference/glossary.md"


def test_no_two_public_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for module in modules():
        for name in public_classes(module):
            places[name].append(str(module))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_no_word_has_two_entries() -> None:
    words = [singular(word) for cell in entries() for word in re.split(r", ", cell)]
    assert sorted(word for word in set(words) if words.count(word) > 1) == []


def test_no_module_or_class_is_named_with_a_word_that_we_avoid() -> None:
    avoided = {"bell", "seal", "skim", "skimming", "neutral", "inbox", "ticket", "manager", "helper", "util", "service"}
    names = [name for module in modules() for name in (module.stem, *public_classes(module))]
    assert [name for name in names if words_in(name) & avoided] == []
