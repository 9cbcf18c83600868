"""Cursors: where a page of a list ended. Opaque, not secret, and not trusted."""

import base64
import json
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.errors import Invalid


def encode(*position: Any) -> str:
    text = json.dumps(position, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_place(cursor: str) -> tuple[datetime, UUID]:
    """Return the time and id of the last item. Raises Invalid for a text that is no cursor of ours."""
    try:
        at, id = _decode(cursor)
        found = datetime.fromisoformat(at), UUID(id)
        if found[0].tzinfo is None:
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        raise _invalid() from None
    return found


def decode_number(cursor: str) -> int:
    """Return the number of the last item. Raises Invalid for a text that is no cursor of ours."""
    try:
        [number] = _decode(cursor)
        if type(number) is not int or not 0 < number < 2**63:
            raise ValueError
    except (ValueError, TypeError):
        raise _invalid() from None
    return number


def _decode(cursor: str) -> Any:
    padded = cursor + "=" * (-len(cursor) % 4)
    return json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))


def _invalid() -> Invalid:
    told = "Send the cursor of the answer before, unchanged, or none for the first page."
    return Invalid(told, faults=[{"path": "cursor", "message": told}])
