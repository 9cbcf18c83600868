"""Answers against a schema: as Pydantic reads them, and in no time whatever the pattern."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import AnyUrl, BaseModel, Field

from agentcore.plain.errors import storable
from agentcore.plain.schemas import faults


class Bill(BaseModel):
    price: Annotated[Decimal, Field(gt=0)]
    page: AnyUrl
    due: datetime
    term: timedelta


FITS = {"price": "1.50", "page": "https://a.example", "due": "2026-01-01T10:00:00Z", "term": "PT5M"}
BAD = [("price", "0"), ("price", "-1"), ("page", "x"), ("due", "2026-W01-1"), ("term", "x")]


def paths(schema: dict[str, Any], value: Any) -> list[str]:
    return [fault.path for fault in faults(schema, value)]


def test_what_pydantic_takes_fits() -> None:
    assert paths(Bill.model_json_schema(), FITS) == []


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_pydantic_refuses_is_a_fault_at_its_path(name: str, value: str) -> None:
    assert paths(Bill.model_json_schema(), FITS | {name: value}) == [name]


@pytest.mark.timeout(20)
def test_a_pattern_that_pythons_engine_takes_years_over_holds_nobody_up() -> None:
    slow, text = "^(a+)+$", "a" * 40 + "!"
    assert paths({"type": "string", "pattern": slow}, text) == [""]
    closed = {"type": "object", "patternProperties": {slow: {}}, "additionalProperties": False}
    assert paths(closed, {text: 1}) == []


def test_a_line_end_is_no_part_of_what_a_pattern_takes() -> None:
    assert paths({"type": "string", "pattern": "^AB$"}, "AB\n") == [""]


def test_what_postgresql_cannot_keep_as_text_is_marked() -> None:
    assert storable("a\x00b\ud800c") == "a\ufffdb\ufffdc"
