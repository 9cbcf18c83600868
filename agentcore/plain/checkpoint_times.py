"""When a checkpoint was written: LangGraph's ids are UUIDs of version 6, which begin with their time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

_BEGIN = datetime(1582, 10, 15, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


def written_at(checkpoint_id: str) -> datetime | None:
    """Return the time in the id of a checkpoint; None for an id that has none."""
    try:
        number = UUID(checkpoint_id)
    except ValueError:
        return None
    if number.version != 6:
        return None
    ticks = (number.int >> 80) << 12 | (number.int >> 64) & 0xFFF  # of 100 ns
    found = timedelta(microseconds=ticks // 10)
    return _BEGIN + found if found < _LATEST - _BEGIN else None
