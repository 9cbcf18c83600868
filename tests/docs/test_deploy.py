"""The files that docs/how-to/deploy.md has for containers, systemd and Kubernetes fit each other, and the console.

Without an engine or a cluster: `FULL=1` has linters and schemas look at them, which are installed for it.
"""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from approvals.conf.environment import VARIABLES
from approvals.management.command_line import COMMANDS
from tests import environments

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
KUBERNETES: list[dict[str, Any]] = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
OF_PROVIDERS = {"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "PYTHONUNBUFFERED"}
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, each as one line."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def pods() -> list[dict[str, Any]]:
    return [each["spec"]["template"] for each in KUBERNETES if "template" in each.get("spec", {})]


def containers() -> list[dict[str, Any]]:
    specs = [pod["spec"] for pod in pods()]
    return [each for spec in specs for each in (*spec.get("initContainers", ()), *spec["containers"])]


def test_the_image_is_built_from_files_that_are_there_and_that_docker_is_given() -> None:
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
    names = [name for each in copied for name in each]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert names and [name for name in names if not (ROOT / name).exists() or f"!{name}" not in ignored] == []


def test_every_package_of_the_image_is_one_of_the_locks() -> None:
    installs = re.findall(r"pip install ([^&\n\\]+)", DOCKERFILE)
    assert len(installs) == 3
    assert [each for each in installs if "--require-hashes" not in each and "--no-deps" not in each] == []
    locked = (ROOT / "requirements-build.lock").read_text()
    assert "hatchling==" in locked and "://" not in locked


def test_no_file_names_a_host_that_packages_come_from() -> None:
    files = [ROOT / "Dockerfile", ROOT / "compose.yaml", *DEPLOY.iterdir()]
    hosts = re.compile(r"py" + r"pi|index-url|files\.python|docker\.io")
    assert [file.name for file in files if hosts.search(file.read_text())] == []


def commands() -> list[list[str]]:
    """Return what each container and unit has `countersign` do."""
    [shown] = [rest for name, rest in instructions() if name == "CMD"]
    found = [re.findall(r'"([^"]+)"', shown)]
    found += [each["command"] for name, each in COMPOSE["services"].items() if name in ("web", "worker")]
    found += [shlex.split(each)[1:] for each in COMPOSE["services"]["set-up"]["command"][0].split(" && ")]
    found += [each["args"] for each in containers()]
    lines = re.findall(r"^Exec\w+=\S+/countersign (.+)$", (DEPLOY / "countersign.service").read_text(), re.MULTILINE)
    return found + [line.split() for line in lines]


def test_whatever_is_started_is_a_command_of_the_console() -> None:
    ours = {file.stem for file in (ROOT / "approvals" / "management" / "commands").glob("*.py")}
    assert len(commands()) > 10
    for name, *options in commands():
        assert name in COMMANDS, name
        assert name != "manage" or options[0] in {*ours, "migrate"}, options


def test_each_variable_is_one_that_the_console_reads() -> None:
    given = {name for each in ("web", "worker", "set-up") for name in COMPOSE["services"][each]["environment"]}
    given |= {each["name"] for container in containers() for each in container.get("env", ())}
    given |= {name for each in KUBERNETES if each["kind"] == "ConfigMap" for name in each["data"]}
    given |= set(re.findall(r"(\w+)=", " ".join(rest for name, rest in instructions() if name == "ENV")))
    assert given - OF_PROVIDERS - {"PATH", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR"} <= VARIABLES.keys()
    assert {"DATABASE_URL", "SECRET_KEY", "PUBLIC_URL", "REDIS_URL"} <= given


def test_the_services_of_compose_wait_for_each_other_and_keep_their_data() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"set-up", "web", "worker", "postgres", "redis"}
    waited = {name for each in services.values() for name in each.get("depends_on", {})}
    assert waited <= services.keys()
    assert "healthcheck" in services["postgres"]
    named = {volume.split(":")[0] for each in services.values() for volume in each.get("volumes", ())}
    assert {name for name in named if name.isidentifier()} == set(COMPOSE["volumes"])
    user = re.search(r"--uid (\d+)", DOCKERFILE)
    assert user and f"USER {user[1]}" in DOCKERFILE
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in pods()} == {int(user[1])}


def test_the_parts_of_the_cluster_find_each_other() -> None:
    by_kind: dict[str, set[str]] = {}
    for each in KUBERNETES:
        by_kind.setdefault(each["kind"], set()).add(each["metadata"]["name"])
    for deployment in (each for each in KUBERNETES if each["kind"] == "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    [service] = [each for each in KUBERNETES if each["kind"] == "Service"]
    assert any(service["spec"]["selector"].items() <= pod["metadata"]["labels"].items() for pod in pods())
    volumes = [volume for pod in pods() for volume in pod["spec"].get("volumes", ())]
    assert {volume["persistentVolumeClaim"]["claimName"] for volume in volumes} == by_kind["PersistentVolumeClaim"]
    named = {each["configMapRef"]["name"] for one in containers() for each in one["envFrom"] if "configMapRef" in each}
    assert named == by_kind["ConfigMap"]
    assert len({each["image"] for each in containers()}) == 1


def test_the_unit_stops_workers_after_the_time_that_they_are_given() -> None:
    from approvals import settings

    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as configparser documents
    unit.read_string((DEPLOY / "countersign.service").read_text())
    assert int(unit["Service"]["TimeoutStopSec"]) > settings.GRACE_SECONDS + 10
    assert unit["Service"]["Environment"].split()[0] == "DATA_DIR=/var/lib/countersign"


def test_the_page_has_each_of_the_files() -> None:
    assert [name for name in ("Dockerfile", "compose.yaml") if f"`{name}`" not in PAGE] == []
    assert [file.name for file in DEPLOY.iterdir() if f"`deploy/{file.name}`" not in PAGE] == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed here")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "countersign.service"
    unit.write_text((DEPLOY / unit.name).read_text().replace("/opt/countersign/bin/countersign", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.full
@pytest.mark.timeout(300)
def test_linters_and_schemas_find_no_fault(tmp_path: Path) -> None:
    lock = Path(__file__).parent / "linters.lock"
    programs = environments.make(tmp_path / "linters", "-r", str(lock), constraints=lock) / "bin"
    checks = (
        ["hadolint", "--failure-threshold", "style", ROOT / "Dockerfile"],
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "compose.yaml"],
        ["kubernetes-validate", "--strict", DEPLOY / "kubernetes.yaml"],
    )
    for name, *arguments in checks:
        done = subprocess.run([programs / str(name), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
