"""The pages of docs say what the code does."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def imported_by(room: str) -> set[str]:
    """Return the other rooms of agentcore that the modules of a room import."""
    sources = [path.read_text() for path in (ROOT / "agentcore" / room).rglob("*.py")]
    found = [
        re.findall(r"^\s*(?:from|import) agentcore(?:\.| import )(\w+)", source, re.MULTILINE) for source in sources
    ]
    return {name for names in found for name in names} - {room}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_each_page_can_be_reached_from_the_readme() -> None:
    reached, todo = set(), {ROOT / "README.md"}
    while todo:
        page = todo.pop()
        reached.add(page)
        links = {(page.parent / link).resolve() for link in re.findall(r"\]\(([^)#:]+\.md)", page.read_text())}
        todo |= {link for link in links if link.exists()} - reached
    assert sorted(str(page.relative_to(ROOT)) for page in set(PAGES) - reached) == []


def test_files_named_in_the_docs_exist() -> None:
    ours = r"`((?:agentcore|approvals|tests|templates|docs|benchmarks)/[\w/.-]*)`"
    named = {(page.name, path) for page in PAGES for path in re.findall(ours, page.read_text())}
    assert [where for where in sorted(named) if not (ROOT / where[1]).exists()] == []
    tests = {name for page in PAGES for name in re.findall(r"\btest_\w+\.py", page.read_text())}
    assert sorted(tests - {path.name for path in (ROOT / "tests").rglob("*.py")}) == []


def test_each_folder_of_the_code_is_on_the_map_for_contributors() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    folders = {path.parent for package in ("agentcore", "approvals") for path in (ROOT / package).glob("*/__init__.py")}
    rooms = {str(path.relative_to(ROOT)) for path in folders if path.name not in ("migrations", "templatetags")}
    assert [room for room in sorted(rooms) if f"| `{room}/` |" not in text] == []


def test_each_loose_file_is_on_the_map_for_contributors() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    loose = {path.name for package in ("agentcore", "approvals") for path in (ROOT / package).glob("*.py")}
    named = {
        name.rpartition("/")[2]
        for line in text.split("\n\n")
        if line.startswith("Loose files")
        for name in re.findall(r"`([\w/]+\.py)`", line)
    }
    assert sorted(loose - named) == []


def test_the_map_says_what_each_room_of_agentcore_imports() -> None:
    rows = re.findall(r"^\| `agentcore/(\w+)/` \| .* \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    told = {room: set(re.findall(r"`(\w+)`", cell)) for room, cell in rows if "`" in cell}
    assert told and {room: imported_by(room) for room in told} == told


def test_make_targets_named_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"\bmake ([a-z-]+)(?=`| [A-Z]+=)", page.read_text())}
    assert "test-quick" in named
    assert named <= targets


def test_commands_named_in_the_docs_exist(database: str) -> None:
    from django.core.management import get_commands

    named = {name for page in PAGES for name in re.findall(r"manage\.py ([a-z_]+)", page.read_text())}
    assert named - {"py"} <= set(get_commands()) | {"NAME"}


def test_every_variable_that_is_read_has_an_entry_in_the_reference() -> None:
    read = set()
    for path in [*(ROOT / "approvals").rglob("*.py"), *(ROOT / "agentcore").rglob("*.py")]:
        read |= set(re.findall(r'(?:read|_number|_database|environ\.get)\("([A-Z_]+)"', path.read_text()))
    text = (ROOT / "docs" / "reference" / "settings.md").read_text()
    for_tests = {"FAILPOINTS", "COUNTERSIGN_TESTING"}
    assert read > for_tests, "the pattern finds no variable any more"
    assert [name for name in read - for_tests if f"`{name}`" not in text] == []


def test_no_page_names_a_host_packages_come_from_or_a_path_of_one_machine() -> None:
    words = ["pypi" + ".org", "/ro" + "ot/", "/wo" + "rk/"]
    assert [page.name for page in PAGES if any(word in page.read_text() for word in words)] == []


def test_the_lock_has_a_hash_for_each_package_and_names_no_host() -> None:
    for name in ("requirements.lock", "requirements-dev.lock", "requirements-build.lock", "tests/docs/linters.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        packages = re.findall(r"^[a-z0-9-]+==.*\\$", text, re.MULTILINE)
        unhashed = re.findall(r"^[a-z0-9-]+==[^\\]*$", text, re.MULTILINE)
        assert packages
        assert not unhashed
