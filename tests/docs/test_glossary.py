"""Each word in the name of a module, a folder or a class has an entry in the glossary; no name has two meanings.

`make check` runs this file. Left out of the words: the demo agents, which are programs of their own; commands, which
are listed in docs/reference/commands.md; and migrations.
"""

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parent.parent.parent
GLOSSARY = ROOT / "docs" / "reference" / "glossary.md"
LEFT_OUT = {"demo", "commands", "migrations"}
MAKERS = {"NamedTuple", "namedtuple", "TypedDict", "NewType", "make_dataclass", "Enum", "StrEnum", "IntEnum"}
VARIABLES = {"TypeVar", "TypeVarTuple", "ParamSpec"}
OFTEN = {
    "Command": "Django wants each command to be called so",
    "Migration": "and each migration",
    "Meta": "and the options of each model and form",
    "Input": "each demo agent is a program of its own",
    "State": "each demo agent is a program of its own",
    "Role": "checkpoints of the onboarding demo name its class",
}
WORDS_AVOIDED = "## Words we avoid"
OF_OTHERS = "As their own documentation"


def all_modules() -> list[Path]:
    found = [path for package in ("agentcore", "approvals") for path in sorted((ROOT / package).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in found]


def modules() -> list[Path]:
    return [path for path in all_modules() if not LEFT_OUT & set(path.parts)]


def names_of(module: Path) -> list[str]:
    """Return the names of the folders that a module is in, and its own."""
    return [*module.parent.parts, *([] if module.stem == "__init__" else [module.stem])]


@cache
def classes_of(module: Path) -> list[str]:
    """Return all classes: private, nested, behind an `if`, and made by a call such as `NamedTuple(...)`."""
    nodes = list(ast.walk(ast.parse((ROOT / module).read_text())))
    written = [node.name for node in nodes if isinstance(node, ast.ClassDef)]
    assigned = [node for node in nodes if isinstance(node, ast.Assign | ast.AnnAssign) and _makes_class(node.value)]
    return written + [target.id for node in assigned for target in _targets(node) if isinstance(target, ast.Name)]


def aliases_of(module: Path) -> list[str]:
    """Return the public names in CapWords that a module gives to types: `Allowlist = frozenset[ClassName]`."""
    nodes = [node for node in _statements(ast.parse((ROOT / module).read_text()).body) if _is_alias(node)]
    names = [target.id for node in nodes for target in _targets(node) if isinstance(target, ast.Name)]
    return [name for name in names if re.fullmatch(r"(?=.*[a-z])[A-Z][A-Za-z0-9]*", name)]


def public_names(module: Path) -> list[str]:
    """Return the names of the folders that a module is in, its own, and those of its public classes."""
    return [*names_of(module), *(name for name in classes_of(module) if not name.startswith("_") and name not in OFTEN)]


def _makes_class(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return False
    return ast.unparse(value.func).rpartition(".")[2] in MAKERS or _is_type_of_three(value)


def _statements(body: list[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a module, those behind an `if` included."""
    behind = [each for node in body if isinstance(node, ast.If) for each in _statements([*node.body, *node.orelse])]
    return body + behind


def _is_alias(node: ast.stmt) -> TypeGuard[ast.Assign | ast.AnnAssign]:
    """Not what `classes_of` finds, and no type variable."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None or _makes_class(node.value):
        return False
    made_by = ast.unparse(node.value.func).rpartition(".")[2] if isinstance(node.value, ast.Call) else ""
    return made_by not in VARIABLES


def _is_type_of_three(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "type" and len(call.args) == 3


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


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
    ordinary = [text.partition(":")[2] for text in explained.split("\n\n") if text.startswith(OF_OTHERS)]
    assert len(ordinary) == 1
    return _words([*entries(), *ordinary]) | words_of_a_sentence()


def words_of_a_sentence() -> set[str]:
    [found] = [text for text in GLOSSARY.read_text().split("\n\n") if text.startswith("Words of a sentence")]
    return _words([found.partition(":")[2]])


def avoided_words() -> set[str]:
    """Return what the glossary writes as `code` in the first column of the words that we avoid."""
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \| [^|]+ \|$", GLOSSARY.read_text(), re.MULTILINE)
    return {singular(word) for row in rows for word in re.findall(r"`(\w+)`", row)}


def modules_that_say_nothing() -> set[str]:
    [found] = [text for text in GLOSSARY.read_text().split("\n\n") if text.startswith("No module is called")]
    return set(re.findall(r"`(\w+)`", found.partition(": that does")[0]))


def _words(texts: list[str]) -> set[str]:
    return {singular(word.lower()) for text in texts for word in re.findall(r"[A-Za-z]+", text)}


def test_each_word_in_the_name_of_a_module_folder_or_class_has_an_entry() -> None:
    known, missing = known_words(), defaultdict(set)
    for module in modules():
        for name in public_names(module):
            for word in words_in(name) - known:
                missing[word].add(f"{module}: {name}")
    assert dict(missing) == {}, "write a line for each in docs/reference/glossary.md"


def test_no_module_or_folder_is_named_with_words_of_a_sentence_alone() -> None:
    """`stored.py` does not say what is stored."""
    names = {name for module in modules() for name in names_of(module)} - {"approvals", "agentcore"}
    assert sorted(name for name in names if words_in(name) <= words_of_a_sentence()) == []
    assert sorted(names & modules_that_say_nothing()) == []


def test_no_two_classes_or_aliases_have_the_same_name() -> None:
    places = defaultdict(list)
    for module in all_modules():
        for name in [*classes_of(module), *aliases_of(module)]:
            places[name].append(str(module))
    assert {name: found for name, found in places.items() if len(found) > 1 and name not in OFTEN} == {}


def test_no_word_has_two_entries() -> None:
    words = [singular(word) for cell in entries() for word in re.split(r", ", cell)]
    assert sorted(word for word in set(words) if words.count(word) > 1) == []


def test_no_word_is_both_ours_and_of_others() -> None:
    """A word with an entry has one meaning; the lists below the entries are for words without one."""
    explained = GLOSSARY.read_text().partition(WORDS_AVOIDED)[0]
    [others] = [text.partition(":")[2] for text in explained.split("\n\n") if text.startswith(OF_OTHERS)]
    single = {singular(word) for cell in entries() for word in re.split(r", ", cell) if " " not in word}
    assert sorted(single & (_words([others]) | words_of_a_sentence())) == []
    assert sorted(_words([others]) & words_of_a_sentence()) == []


def test_no_module_folder_or_class_is_named_with_a_word_that_we_avoid() -> None:
    avoided = avoided_words()
    assert {"bell", "execute", "manager", "data"} <= avoided
    names = {name for module in modules() for name in public_names(module)}
    assert sorted(name for name in names if words_in(name) & avoided) == []
