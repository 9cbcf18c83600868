"""The columns of an approval that lists show, sort and group by."""

from decimal import Decimal
from typing import Any

from agentcore.plain.types import Gist


def columns_of(gist: Gist) -> dict[str, Any]:
    return {
        "headline": gist.headline[:300],
        "detail": gist.detail[:500],
        "action": gist.action[:200],
        "amount": Decimal(gist.amount) if gist.amount else None,
        "currency": gist.currency[:8],
        "customer": gist.customer[:200],
        "risk": gist.risk[:60],
    }
