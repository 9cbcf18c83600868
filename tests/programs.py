"""The programs the tests need beside Python: found, or installed, or asked for with the line to type."""

import os
import shutil
import subprocess
from functools import cache

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@cache
def chromium() -> str:
    """Return the path of a Chromium or Chrome; install one if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    return _found(*names) or _from_playwright() or _from_apt("chromium", *names)


@cache
def redis_server() -> str:
    """Return the path of redis-server (or valkey-server); install one if there is none."""
    names = ("redis-server", "valkey-server")
    return _found(*names) or _from_apt("redis-server", *names)


def _found(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


def _from_playwright() -> str | None:
    from playwright.sync_api import sync_playwright

    subprocess.run(["playwright", "install", "chromium"], check=False, capture_output=True, timeout=300)
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def _from_apt(package: str, *names: str) -> str:
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False, timeout=300)
        subprocess.run(["apt-get", "install", "-y", "-qq", package], check=False, timeout=900)
    path = _found(*names)
    if path is None:
        raise RuntimeError(f"The tests need {package}. Type: sudo apt-get install {package}")
    return path
