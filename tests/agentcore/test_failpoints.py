"""Faults are injected where a test says, never outside tests, and a word that is misspelt is refused."""

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentcore.plain.errors import FailpointsRefused
from agentcore.testing import failpoints
from agentcore.testing.failpoints import MECHANISMS, NAMES, FailpointReached, arm, arm_from, disarm, is_off, reach

ROOT = Path(__file__).parents[2]


@pytest.fixture
def testing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    yield
    disarm()


def start(text: str, testing: str = "1") -> subprocess.Popen[str]:
    """Start a process that reaches one place three times and counts."""
    code = (
        "from agentcore.testing.failpoints import reach\nfor n in range(3): reach('run.entered'); print(n, flush=True)"
    )
    env = {**os.environ, "FAILPOINTS": text, "COUNTERSIGN_TESTING": testing}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=env, stdout=-1, stderr=-1, text=True)


def test_a_process_dies_the_second_time_it_gets_there() -> None:
    process = start("fence=off; run.entered=kill@2")
    assert process.communicate()[0] == "0\n"
    assert process.returncode == -signal.SIGKILL


def test_a_process_that_is_stopped_goes_on_when_it_is_thawed() -> None:
    process = start("run.entered=stop@3")
    frozen = psutil.Process(process.pid)
    for _ in range(500):
        if frozen.status() == psutil.STATUS_STOPPED:
            break
        time.sleep(0.02)
    assert frozen.status() == psutil.STATUS_STOPPED
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=10)[0] == "0\n1\n2\n"


def test_a_process_with_failpoints_outside_tests_does_not_start() -> None:
    process = start("run.entered=kill", testing="")
    assert "FAILPOINTS is for tests: unset it." in process.communicate()[1]
    assert process.returncode == 1


def test_nothing_is_armed_outside_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COUNTERSIGN_TESTING", raising=False)
    with pytest.raises(FailpointsRefused, match="for tests"):
        arm("run.entered", "raise")
    reach("run.entered")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run.enterd=kill", "What can: decide.locked,.*run.entered"),
        ("fence=kill", "What can: decide.locked"),
        ("run.entered=off", "What can: fence,"),
        ("run.entered=kil", "Type kill, stop, raise"),
        ("run.entered=sleep", "Type kill, stop, raise"),
        ("run.entered=sleep:soon", "Type kill, stop, raise"),
        ("run.entered=kill@0", "Type kill, stop, raise"),
        ("run.entered=kill@x", "Type kill, stop, raise"),
        ("run.entered", "Type kill, stop, raise"),
        ("=kill", "What can: decide.locked"),
    ],
)
def test_a_word_that_is_misspelt_is_refused_with_those_there_are(testing: None, text: str, said: str) -> None:
    with pytest.raises(FailpointsRefused, match=said):
        arm_from(text)
    for name in NAMES:
        reach(name)


def test_what_is_armed_happens_once_at_its_time_until_it_is_taken_back(testing: None) -> None:
    arm("run.entered", "raise", at=2)
    reach("run.entered")
    reach("run.claimed")
    with pytest.raises(FailpointReached, match="run.entered"):
        reach("run.entered")
    reach("run.entered")
    arm("run.entered", "raise")
    disarm()
    reach("run.entered")


def test_a_mechanism_is_off_as_often_as_it_is_asked_for(testing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(failpoints.time, "sleep", slept.append)
    arm_from(" fence=off ;; run.entered=sleep:0.05; ")
    assert [is_off("fence"), is_off("fence"), is_off("sync")] == [True, True, False]
    reach("run.entered")
    assert slept == [0.05]


@pytest.mark.parametrize("ask", [reach, is_off])
def test_a_place_that_nobody_wrote_down_is_a_bug(ask: Any) -> None:
    with pytest.raises(AssertionError, match="is not in"):
        ask("run.nowhere")


def test_every_name_is_a_place_in_the_code_and_the_other_way_round() -> None:
    files = [*(ROOT / "agentcore").rglob("*.py"), *(ROOT / "approvals").rglob("*.py")]
    texts = [file.read_text() for file in files if file.name != Path(failpoints.__file__).name]
    calls = [
        (call.func.id, call.args[0])
        for text in texts
        if "reach(" in text or "is_off(" in text
        for call in ast.walk(ast.parse(text))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in ("reach", "is_off")
    ]
    assert all(isinstance(name, ast.Constant) for _, name in calls), "a name that only the run would tell"
    places = {(kind, name.value) for kind, name in calls if isinstance(name, ast.Constant)}
    assert {name for kind, name in places if kind == "reach"} == set(NAMES)
    assert {name for kind, name in places if kind == "is_off"} == set(MECHANISMS)
