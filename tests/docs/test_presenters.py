"""Presenters turn rows into values: their code names no manager, no query and no response.

tests/approvals/test_fragments.py watches the statements themselves.
"""

import ast
from pathlib import Path

import pytest

PRESENTERS = Path(__file__).parent.parent.parent / "approvals" / "presenters"
QUERIES = {"objects", "filter", "exclude", "annotate", "select_related", "values_list", "exists", "first", "aggregate"}


RESPONSES = ("django.http", "django.shortcuts", "django.template", "django.db")


def queries_in(source: str) -> list[str]:
    """Return what looks like a query or a response, with its line."""
    imported = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom | ast.Import)]
    modules = {name: node.lineno for node in imported for name in _modules_of(node)}
    responses = [f"{line}: {name}" for name, line in modules.items() if name.startswith(RESPONSES)]
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute) and node.attr in QUERIES]
    return responses + [f"{node.lineno}: .{node.attr}" for node in found if not _is_field_of_ours(node)]


def _modules_of(node: ast.ImportFrom | ast.Import) -> list[str]:
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]


def _is_field_of_ours(node: ast.Attribute) -> bool:
    """`self.first` is a property of a record."""
    return isinstance(node.value, ast.Name) and node.value.id == "self"


@pytest.mark.parametrize("path", sorted(PRESENTERS.glob("*.py")), ids=lambda path: path.stem)
def test_a_presenter_names_no_query(path: Path) -> None:
    assert queries_in(path.read_text()) == []


@pytest.mark.parametrize(
    "planted",
    [
        "return Approval.objects.get(pk=1)",
        "return found.filter(pk=1)",
        "return thread.approvals.exclude(pk=1).first()",
        "from django.http import HttpResponse",
    ],
)
def test_a_planted_query_or_response_is_found(planted: str) -> None:
    assert queries_in(f"def of():\n    {planted}\n") != []
