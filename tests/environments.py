"""Python environments of their own, for tests of what is installed. To make one takes long: such tests are `full`."""

import json
import os
import subprocess
import sys
from pathlib import Path

KEPT = "TEST_AUTHORITIES"
"""The environment variable with what says which authorities the package registry's certificate is checked with."""
_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def keep_authorities() -> None:
    """Take note of what the tests themselves do without."""
    os.environ[KEPT] = json.dumps({name: os.environ[name] for name in _NAMES if name in os.environ})


def make(folder: Path, *packages: str, constraints: Path) -> Path:
    """Make an environment with these packages and what they need; return its folder."""
    uv = [sys.executable, "-m", "uv"]
    env = {name: value for name, value in os.environ.items() if name not in _NAMES} | json.loads(os.environ[KEPT])
    subprocess.run([*uv, "venv", "-q", str(folder)], env=env, check=True)
    install = [*uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), "-c", str(constraints)]
    subprocess.run([*install, *packages], cwd=folder, env=env, check=True)
    return folder
