"""Messages edited as plain data are messages again, of their kind, with what nobody was shown of them."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver

from agentcore.graphs import cards, state_edits
from agentcore.graphs.runs import RunContext, run_until_pause
from agentcore.graphs.snapshots import config_for, with_saver
from agentcore.plain.edits import check_edits
from agentcore.plain.errors import CannotEdit
from tests.edited import graph

CHANNELS = cards.card("edited", graph).channels
CALLS = [{"name": "look_up", "args": {"city": "Delft", "limit": 3}, "id": "call-1", "type": "tool_call"}]
FIRST = {"type": "human", "id": "m1", "content": "Send the lamp to Gouda."}
CALL = {"name": "look_up", "args": {"city": "Gouda", "limit": 4}, "id": "call-1", "type": "tool_call"}
SECOND = {"type": "ai", "id": "m2", "content": "I look.", "tool_calls": [CALL]}


async def edited(op: str, *items: dict[str, Any]) -> list[Any]:
    """Check, preview and apply; return the messages as LangGraph then has them."""
    saver = InMemorySaver()
    await run_until_pause(RunContext(graph, saver, "t"), {"total": 0})
    model = AIMessage("I look it up.", id="m2", tool_calls=CALLS, response_metadata={"model": "x"})
    await with_saver(graph, saver).aupdate_state(config_for("t"), {"messages": [model]})
    edits = {"messages": {"op": op, "value": list(items)}}
    check_edits(CHANNELS, edits)
    seen = await state_edits.preview(graph, saver, config_for("t"), edits)
    await state_edits.apply(graph, saver, config_for("t"), edits)
    state = await with_saver(graph, saver).aget_state(config_for("t"))
    assert len(seen.values["messages"]) == len(state.values["messages"])
    return list(state.values["messages"])


async def test_a_message_is_replaced_by_its_id_and_stays_where_it_is() -> None:
    found = await edited("append", FIRST, SECOND)
    assert [message.id for message in found] == ["m1", "m2", "m3"]
    assert [type(message) for message in found] == [HumanMessage, AIMessage, ToolMessage]
    assert found[0].content == FIRST["content"]
    assert found[1].tool_calls == [CALL]


async def test_what_nobody_is_shown_of_a_message_is_kept() -> None:
    found = await edited("append", SECOND)
    assert found[1].response_metadata == {"model": "x"}


async def test_a_message_is_taken_out_by_its_id_and_one_is_added_at_the_end() -> None:
    removal = {"type": "remove", "id": "m1", "content": ""}
    found = await edited("append", removal, {"type": "human", "content": "Well?"})
    assert [message.content for message in found] == ["I look it up.", "Two depots.", "Well?"]


async def test_messages_that_replace_all_are_messages_too() -> None:
    """LangGraph puts what replaces all in place as it is: bare data would break the next node."""
    found = await edited("replace", FIRST, SECOND)
    assert [type(message) for message in found] == [HumanMessage, AIMessage]
    assert found[1].response_metadata == {"model": "x"}


async def test_a_message_may_change_its_role() -> None:
    found = await edited("append", {**FIRST, "type": "system"})
    assert (found[0].type, found[0].id) == ("system", "m1")


async def test_tool_calls_can_be_taken_away() -> None:
    found = await edited("append", {"type": "ai", "id": "m2", "content": "Never mind."})
    assert (found[1].content, found[1].tool_calls) == ("Never mind.", [])


async def test_a_removal_of_what_is_not_there_is_refused_by_the_graph() -> None:
    with pytest.raises(CannotEdit, match="ValueError"):
        await edited("append", {"type": "remove", "id": "nobody", "content": ""})
