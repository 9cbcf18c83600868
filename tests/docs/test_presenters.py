"""Presenters turn rows into values: their code names no manager, no query and no response.

`make check` runs this file. Names cannot tell whether `approval.thread` was selected: `tests/statements.py` watches
the statements themselves wherever a test opens a page.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.db.models import Manager, Model, QuerySet

ROOT = Path(__file__).parent.parent.parent
APPROVALS = ROOT / "approvals"
PRESENTERS = APPROVALS / "presenters"
RESPONSES = ("django.http", "django.shortcuts", "django.template", "django.db", "django_htmx", "ninja")
MANAGERS = {"objects", "_default_manager", "_base_manager"}
READS_ONCE = "approvals.domain.permissions"
"""It keeps the roles of a person for the request, and each view asks it first."""


def _public(*classes: type) -> set[str]:
    return {name for each in classes for name in dir(each) if not name.startswith("_")}


PLAIN = _public(str, list, dict, set, tuple, int)
QUERIES = _public(QuerySet, Manager) | {name for name in _public(Model) if not name.startswith("get_")}
"""Methods of a QuerySet, a manager or a row. Those in PLAIN are methods of plain values too, such as `count`."""


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def our_queries() -> set[str]:
    """Return the methods of our own QuerySets, such as `pending`."""
    classes = [node for node in ast.walk(_tree(APPROVALS / "models.py")) if isinstance(node, ast.ClassDef)]
    found = [each for each in classes if "QuerySet" in "".join(map(ast.unparse, each.bases))]
    return {node.name for each in found for node in each.body if isinstance(node, ast.FunctionDef)}


@cache
def related_names() -> set[str]:
    """Return the names under which a row has a manager of the rows that point at it, such as `approval.votes`."""
    named = [node for node in ast.walk(_tree(APPROVALS / "models.py")) if isinstance(node, ast.keyword)]
    values = {node.value.value for node in named if node.arg == "related_name" and isinstance(node.value, ast.Constant)}
    return {str(value) for value in values - {"+"}}


def queries_in(tree: ast.AST) -> list[str]:
    """Return what looks like a query, with its line."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr in MANAGERS]
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_query(node)]
    return [f"{node.lineno}: {ast.unparse(node)[:80]}" for node in [*found, *calls]]


def _is_query(call: ast.Call) -> bool:
    if not isinstance(call.func, ast.Attribute):
        return False
    name, receiver = call.func.attr, call.func.value
    if name in ("count", "get"):  # of a plain value they take an argument, and none by name
        return not call.args or bool(call.keywords)
    if name in PLAIN:
        return name in QUERIES and isinstance(receiver, ast.Attribute) and receiver.attr in related_names()
    return name in QUERIES | our_queries()


def responses_in(tree: ast.AST) -> list[str]:
    """Return what leads to a response. `import django.utils.html` gives `django.http` too, where someone loaded it."""
    found = [(name, line) for name, _, line in _imported(tree) if name == "django" or name.startswith(RESPONSES)]
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    found += [(name, node.lineno) for node in attributes if (name := ast.unparse(node)).startswith(RESPONSES)]
    return [f"{line}: {name}" for name, line in found]


def _imported(tree: ast.AST) -> Iterator[tuple[str, str, int]]:
    """Yield each module or name that is imported, in full, with what the file calls it and its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                yield f"{package}{alias.name}", alias.asname or alias.name, node.lineno


@cache
def querying_functions(module: str) -> set[str]:
    """Return the functions of one of our modules that read rows, or call one in the same module that does."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if module == READS_ONCE or not module.startswith("approvals.") or not path.exists():
        return set()
    functions = [node for node in _tree(path).body if isinstance(node, ast.FunctionDef)]
    found = {node.name for node in functions if queries_in(node)}
    while more := {node.name for node in functions if node.name not in found and found & set(_called(node))}:
        found |= more
    return found


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def uses_of_querying_functions(tree: ast.AST) -> list[str]:
    """Return the uses of functions that read rows: `voters.count`, called or handed on."""
    querying = set()
    for name, local, _ in _imported(tree):
        module, _, last = name.rpartition(".")
        querying |= {local} if last in querying_functions(module) else set()
        querying |= {f"{local}.{function}" for function in querying_functions(name)}
    uses = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    return [name for name in uses if name in querying]


def faults_in(tree: ast.AST) -> list[str]:
    return responses_in(tree) + queries_in(tree) + uses_of_querying_functions(tree)


@pytest.mark.parametrize("path", sorted(PRESENTERS.rglob("*.py")), ids=lambda path: str(path.relative_to(PRESENTERS)))
def test_a_presenter_names_no_query(path: Path) -> None:
    assert faults_in(_tree(path)) == []


@pytest.mark.parametrize(
    "planted",
    [
        "return Approval.objects.get(pk=1)",
        "return Approval._default_manager.get(pk=1)",
        "return found.filter(pk=1)",
        "return thread.approvals.exclude(pk=1).first()",
        "return thread.approvals.count()",
        "return thread.approvals.all()",
        "return thread.approvals.values()",
        "return thread.approvals.pending()",
        "return thread.approvals.order_by().values().last()",
        "return thread.approvals.get(pk=1)",
        "thread.save()",
        "thread.refresh_from_db()",
        "from approvals.domain import voters\n    return voters.count(rule, is_escalated=False)",
        "from approvals.domain.voters import count as _count, count\n    return count(rule, is_escalated=False)",
        "from approvals.domain import queries\n    return queries.stuck(found)",
        "from django.http import HttpResponse",
        "from django import shortcuts",
        "import django.db.models",
        "from ninja.responses import Response",
        "import django\n    return django.http.HttpResponse('')",
        "import django as framework\n    return framework.http.HttpResponse('')",
        "import django.utils.html\n    return django.http.HttpResponse('')",
        "from approvals.domain.voters import count as tallied\n    return tallied(rule, is_escalated=False)",
        "from approvals.domain import voters as people\n    return people.count(rule, is_escalated=False)",
        "import approvals.domain.voters\n    return approvals.domain.voters.count(rule, is_escalated=False)",
        "from approvals.domain import voters\n    return list(map(voters.count, rules))",
    ],
)
def test_a_planted_query_or_response_is_found(planted: str) -> None:
    assert faults_in(ast.parse(f"def of():\n    {planted}\n")) != []


@pytest.mark.parametrize(
    "plain", ["return found.get('name')", "return words.count('a')", "return rows.values()", "return self.first"]
)
def test_methods_of_plain_values_are_no_queries(plain: str) -> None:
    assert faults_in(ast.parse(f"def of(self):\n    {plain}\n")) == []
