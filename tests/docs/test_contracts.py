"""The contracts of the import linter leave nothing out: `make check` runs them and this file."""

import ast
import importlib.metadata
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).parent.parent.parent
OF_LANGGRAPH = re.compile(r"lang(graph|chain|smith)\w*")
WORKERS_ALONE = {
    "approvals.actions",  # of these a web process reaches some, by way of the others
    "approvals.jobs.answering",
    "approvals.jobs.runtime",
    "approvals.jobs.tasks",
    "approvals.jobs.worker",
    "approvals.management",
}
WORKERS_COMMANDS = {"demo", "procrastinate", "setup_checkpointer"}
"""They load LangGraph. All other commands do without, `serve --no-worker` too."""
LOAD_A_WORKER = {("approvals.management.serving", name) for name in ("_checkpoints_kept", "_working")}
LOADERS = {
    *("__import__", "exec", "eval", "builtins", "__builtins__", "__loader__", "importlib", "pydoc"),
    *("import_module", "import_string", "exec_module", "load_module", "autodiscover_modules"),
}
"""What imports a module that no import statement names."""
MAY_LOAD = {
    "agentcore/demo/model.py",  # asks whether an optional package is installed
    "agentcore/graphs/allowlist.py",  # types that a graph's author named
    "agentcore/graphs/registry.py",  # graphs that langgraph.json names
    "agentcore/savers/strict_serializer.py",  # types that an allowlist names
}
MAY_RENAME = {
    ("approvals.actions.threads.forks", "agentcore.plain.edits"),  # `edits` is a parameter there
    ("approvals.actions.votes.edits", "agentcore.plain.edits"),  # and there
    ("approvals.domain.diagnosis.judges", "approvals.domain.diagnosis.advised_steps"),  # named in nearly each line
}


@cache
def arrows() -> grimp.ImportGraph:
    """Return what imports what, as the import linter sees it. A module of ours also loads the packages it lies in."""
    found = grimp.build_graph(
        "agentcore", "approvals", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    for module in found.find_descendants("approvals"):
        found.add_import(importer=module, imported=module.rpartition(".")[0])
    return found


@cache
def loading_langgraph() -> set[str]:
    """Return the modules that lead to LangGraph, and its own."""
    langgraph = {module for module in arrows().modules if OF_LANGGRAPH.fullmatch(module)}
    return langgraph.union(*(arrows().find_downstream_modules(module) for module in langgraph))


@cache
def tree(module: str) -> ast.Module:
    path = ROOT / module.replace(".", "/")
    return ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())


def function_at(module: str, line: int) -> str | None:
    """Return the name of the outermost function around a line, or None at the top of a module or a class."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = [node for node in ast.walk(tree(module)) if isinstance(node, kinds)]
    return next((node.name for node in found if node.lineno <= line <= (node.end_lineno or line)), None)


def words_in(node: ast.AST) -> set[str]:
    """Return the names that a node of code has, in code or as text."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Constant(value=str(name)):
            return {name}
        case ast.alias(name=name):
            return set(name.split("."))
        case ast.ImportFrom(module=str(name)):
            return set(name.split("."))
    return set()


def contracts() -> list[dict[str, Any]]:
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"])


def children_of(package: str) -> set[str]:
    """Return the modules and the folders of a package. A folder without `__init__.py` is one as well."""
    found = (ROOT / package.replace(".", "/")).iterdir()
    names = {path.stem for path in found if path.suffix == ".py" or any(path.rglob("*.py"))}
    return {f"{package}.{name}" for name in names - {"__init__", "__pycache__"}}


def test_each_module_stands_on_one_side_of_the_wall() -> None:
    [wall] = [each for each in contracts() if each["name"] == "a web process reaches no LangGraph"]
    found = children_of("approvals") - {"approvals.jobs"} | children_of("approvals.jobs")
    assert sorted(found ^ {*wall["source_modules"], *WORKERS_ALONE}) == []


def test_the_contracts_forbid_each_installed_package_of_langgraph() -> None:
    installed = {name for name in importlib.metadata.packages_distributions() if OF_LANGGRAPH.fullmatch(name)}
    walls = [each for each in contracts() if "langgraph" in each.get("forbidden_modules", ())]
    assert len(walls) == 3
    assert [each["name"] for each in walls if not installed <= set(each["forbidden_modules"])] == []


def test_each_folder_with_code_is_a_package() -> None:
    """The import linter and mypy pass over a folder without `__init__.py`."""
    folders = {path.parent for package in ("agentcore", "approvals") for path in (ROOT / package).rglob("*.py")}
    assert [str(path) for path in sorted(folders) if not (path / "__init__.py").exists()] == []


def test_no_module_imports_past_the_import_linter() -> None:
    """Ruff bans modules such as `importlib`; of builtins and of what another module re-exports it knows nothing."""
    found = [path for package in ("agentcore", "approvals") for path in (ROOT / package).rglob("*.py")]
    names = {str(path.relative_to(ROOT)): ast.walk(ast.parse(path.read_text())) for path in found}
    past = {(path, word) for path, nodes in names.items() for node in nodes for word in words_in(node) & LOADERS}
    assert sorted((path, word) for path, word in past if path not in MAY_LOAD) == []


def test_a_package_around_modules_of_the_web_loads_no_langgraph() -> None:
    """The contract looks at `jobs.job_queue` alone, but `jobs/__init__.py` runs before it."""
    [wall] = [each for each in contracts() if each["name"] == "a web process reaches no LangGraph"]
    web = {each for source in wall["source_modules"] for each in (source, *arrows().find_descendants(source))}
    assert sorted(web & loading_langgraph()) == []


def test_commands_load_no_langgraph_but_those_of_workers() -> None:
    room = arrows().find_descendants("approvals.management")
    of_workers = {f"approvals.management.commands.{name}" for name in WORKERS_COMMANDS}
    assert of_workers <= room
    imports = [
        (module, line["line_number"], line["line_contents"])
        for module in sorted(room - of_workers)
        for imported in arrows().find_modules_directly_imported_by(module) & (loading_langgraph() - room)
        for line in arrows().get_import_details(importer=module, imported=imported)
    ]
    assert imports, "serve starts a worker"
    assert [each for each in imports if (each[0], function_at(*each[:2])) not in LOAD_A_WORKER] == []


def test_no_text_names_a_module_that_loads_langgraph() -> None:
    """Django imports what settings name as text, such as a middleware."""
    named = [
        (module, node.lineno, str(node.value))
        for module in sorted(arrows().find_descendants("approvals"))
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Constant) and re.fullmatch(r"\w+([.:]\w+)+", str(node.value))
    ]
    assert "approvals.web.middleware.SignInMiddleware" in {text for _, _, text in named}
    modules = [each for each in named if each[2] != "langgraph.json"]
    assert [each for each in modules if _beginnings(each[2]) & loading_langgraph()] == []


def _beginnings(dotted: str) -> set[str]:
    words = re.split("[.:]", dotted)
    return {".".join(words[:length]) for length in range(1, len(words) + 1)}


def test_callers_use_a_modules_own_name() -> None:
    ours = arrows().find_descendants("agentcore") | arrows().find_descendants("approvals")
    aliases = {
        (module, f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name)
        for module in ours
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert {(module, imported) for module, imported in aliases if imported in ours} == MAY_RENAME
