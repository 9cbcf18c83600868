"""How often the long tests try. `FULL=1 make test` tries as often as the documentation says; usually a part of it."""

import os

IS_FULL = os.environ.get("FULL") == "1"


def tries(usual: int, *, full: int) -> int:
    return full if IS_FULL else usual
