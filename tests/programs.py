"""The programs the tests need beside Python: found, or installed, or asked for with the line to type."""

import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from fasteners import InterProcessLock

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300")
# The workers of one run, and whoever else tests on this machine, install one after the other.
_one_at_a_time = InterProcessLock(Path(tempfile.gettempdir()) / f"countersign-programs-{os.getuid()}.lock")


@cache
def chromium() -> str:
    """Return the path of a Chromium or Chrome; install one if there is none.

    The headless shell comes first. It is the same engine without windows, and needs a quarter of the processor time.
    """
    shells = ("chromium-headless-shell", "chrome-headless-shell", "headless_shell")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    with _one_at_a_time:
        return (
            _found(*shells)
            or _shell_from_apt(*shells)
            or _found(*names)
            or _from_playwright()
            or _from_apt("chromium", *names)
        )


@cache
def redis_server() -> str:
    """Return the path of redis-server (or valkey-server); install one if there is none."""
    names = ("redis-server", "valkey-server")
    with _one_at_a_time:
        return _found(*names) or _from_apt("redis-server", *names)


def _found(*names: str) -> str | None:
    """Return the first that starts: Ubuntu's chromium may be a note that there is a snap."""
    return next((path for name in names if (path := shutil.which(name)) and _starts(path)), None)


def _starts(path: str) -> bool:
    return _run(path, "--version", seconds=60) is None


def _from_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    playwright_cli = (sys.executable, "-m", "playwright")
    if not os.path.exists(path):
        _run(*playwright_cli, "install", "chromium", seconds=300)
    if os.path.exists(path) and not _starts(path) and os.geteuid() == 0:
        _run(*playwright_cli, "install-deps", "chromium", seconds=600)  # the libraries that it is linked to
    return path if os.path.exists(path) and _starts(path) else None


def _shell_from_apt(*names: str) -> str | None:
    """Install the headless shell where the system has it as a package and nothing else has to go for it."""
    if not _may_install():
        return None
    options = ("-y", "--no-remove", "--no-install-recommends", "-o", "Acquire::http::Timeout=10")
    _run(*APT, "install", *options, "chromium-headless-shell", seconds=180)
    return _found(*names)


def _may_install() -> bool:
    return bool(shutil.which("apt-get")) and os.geteuid() == 0


def _from_apt(package: str, *names: str) -> str:
    complaint = None
    if _may_install():
        _run(*APT, "update", seconds=300)  # one source of several may fail
        complaint = _run(*APT, "install", "-y", "--no-install-recommends", package, seconds=900)
    path = _found(*names)
    if path is None:
        raise RuntimeError(f"The tests need {package}. Type: sudo apt-get install {package}\n{complaint or ''}")
    return path


def _run(*command: str, seconds: float) -> str | None:
    """Run it; return what it said if it failed, or did not end in time."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr if done.returncode else None
