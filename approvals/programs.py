"""What people type: `manage.py` in a clone, `countersign manage` where the package is installed."""

import os
import sys

NAMED = "COUNTERSIGN_PROGRAM"
"""The environment variable by which the processes of `countersign` know how they were started."""
IN_A_CLONE = "manage.py"


def typed(command: str) -> str:
    """Return the line that runs a command of ours."""
    return f"{os.environ.get(NAMED, IN_A_CLONE)} {command}"


def typed_with_port(port: int) -> str:
    """Return the line that starts this server at another port."""
    if NAMED not in os.environ:
        return f"PORT={port} make run"
    return f"countersign {' '.join(sys.argv[1:2])} --port {port}"


def told(sentence: str) -> str:
    """Return a sentence about `manage.py` as it reads here."""
    return sentence.replace(f"{IN_A_CLONE} ", typed(""))
