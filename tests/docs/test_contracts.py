"""The contracts of the import linter leave nothing out: `make check` runs them and this file."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
OF_LANGGRAPH = re.compile(r"lang(graph|chain|smith)\w*")
WORKERS_ALONE = {
    "approvals.actions",  # of these a web process reaches some, by way of the others
    "approvals.jobs.runtime",
    "approvals.jobs.tasks",
    "approvals.jobs.worker",
    "approvals.management",
}


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
    """Ruff bans `importlib` and its like; of builtins it knows nothing."""
    past = re.compile(r"\b(__import__|exec|eval)\(")
    found = [path for package in ("agentcore", "approvals") for path in (ROOT / package).rglob("*.py")]
    assert [str(path) for path in found if past.search(path.read_text())] == []
