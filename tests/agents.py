"""Agents of several teams, which all have the same nodes. `mailer` is in langgraph.json, as the parcels are."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from tests.dialects import Calls, record, send_mail
from tests.graphs import State, leave_mark


@tool
async def wire_money(to: str, amount: float, config: RunnableConfig) -> str:
    """Wire money."""
    return record("wire_money", config, to=to, amount=amount)


def _agent(gated: Any, *others: Any, name: str | None) -> Any:
    middleware = HumanInTheLoopMiddleware(interrupt_on={gated.name: True})
    return create_agent(Calls(), [gated, *others], middleware=[middleware], name=name)


mailer = _agent(send_mail, name="mailer")
bank = _agent(wire_money, name="bank")
nameless_bank = _agent(wire_money, name=None)
mailer_that_pays = _agent(wire_money, send_mail, name="mailer")
"""Another team's agent of the same name."""

WIRE = '[{"name": "wire_money", "args": {"to": "Mallory", "amount": 900}}]'
MAIL = '[{"name": "send_mail", "args": {"to": "a@example.org", "subject": "Hello"}}]'


async def weigh(state: State, config: RunnableConfig) -> State:
    leave_mark("weigh", config)
    return {"notes": ["weighed"]}


async def ship(state: State, config: RunnableConfig) -> State:
    leave_mark("ship", config)
    return {"notes": ["shipped"]}


async def ship_elsewhere(state: State, config: RunnableConfig) -> State:
    leave_mark("ship_elsewhere", config)
    return {"notes": ["shipped elsewhere"]}


def _parcels(ships: Any) -> Any:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("weigh", weigh)
    builder.add_node("ship", ships)
    builder.add_edge(START, "weigh")
    builder.add_edge("weigh", "ship")
    builder.add_edge("ship", END)
    return builder.compile(interrupt_before=["ship"], name="parcels")


parcels = _parcels(ship)
parcels_twin = _parcels(ship_elsewhere)
