"""The pieces that are made of what LangGraph streams: masked, in order, and for whoever asked."""

from typing import Any

from langchain_core.messages import AIMessageChunk

from agentcore.graphs.streams import PieceReader, Raw
from agentcore.plain.masks import Mask
from agentcore.plain.streams import MODES, Wanted

KEY = "sk-live-4711-secret"
ALL = Wanted(frozenset(MODES), has_subgraphs=True)


def reader() -> PieceReader:
    made = PieceReader()
    made.mask = Mask(["key"])
    return made


def begin(task_id: str) -> Raw:
    return (), "tasks", {"id": task_id, "name": "node", "input": {}, "triggers": []}


def end(task_id: str, **more: Any) -> Raw:
    return (), "tasks", {"id": task_id, "name": "node", "error": None, "result": {}, "interrupts": [], **more}


def said(text: str, *, by: str, message: str) -> Raw:
    return (), "messages", (AIMessageChunk(text, id=message), {"langgraph_checkpoint_ns": f"node:{by}"})


def texts(pieces: list[Any]) -> list[str]:
    return [piece.data[0]["content"] for piece in pieces if piece.name == "messages"]


def test_a_secret_in_pieces_of_two_messages_at_once_is_hidden_once_it_is_known() -> None:
    pieces = reader().pieces_of(
        [
            begin("a"),
            begin("b"),
            said("The key is sk-li", by="a", message="1"),
            said("Hel", by="b", message="2"),
            said("ve-4711-secret.", by="a", message="1"),
            said("lo", by="b", message="2"),
            ((), "custom", {"found": KEY}),
            end("b"),
            end("a", result={"key": KEY}),
        ],
        ALL,
    )
    assert texts(pieces) == ["The key is ••••••.", "Hello"]
    assert [piece.data for piece in pieces if piece.mode == "custom"] == [{"found": "••••••"}]
    assert KEY not in str(pieces)


def test_what_a_node_said_that_did_not_end_is_not_told_where_there_are_secrets() -> None:
    for wrong in ({"error": ValueError(KEY)}, {"interrupts": [{"value": "May I?"}]}):
        pieces = reader().pieces_of(
            [begin("a"), begin("b"), said(KEY, by="a", message="1"), said("Hello", by="b", message="2")]
            + [end("a", **wrong), end("b")],
            ALL,
        )
        assert texts(pieces) == ["Hello"], wrong


def test_what_was_held_back_is_told_when_the_run_has_stopped() -> None:
    made = reader()
    assert texts(made.pieces_of([begin("a"), said("Hello", by="a", message="1")], ALL)) == []
    assert texts(made.rest(ALL)) == ["Hello"]


def test_a_state_inside_anything_is_masked() -> None:
    told: Raw = ((), "values", {"inner": {"list": [{"key": KEY, "other": 1}]}, "text": f"uses {KEY}"})
    [piece] = reader().pieces_of([told], Wanted(frozenset(["values"])))
    assert piece.data == {"inner": {"list": [{"key": "••••••", "other": 1}]}, "text": "uses ••••••"}


def test_only_what_is_asked_for_is_made() -> None:
    told: list[Raw] = [((), "values", {"a": 1}), ((), "updates", {"node": {"a": 1}}), (("sub:1",), "values", {"a": 2})]
    assert [piece.name for piece in PieceReader().pieces_of(told, Wanted(frozenset(["values"])))] == ["values"]
    both = Wanted(frozenset(["values"]), has_subgraphs=True)
    assert [(piece.name, piece.is_inner) for piece in PieceReader().pieces_of(told, both)] == [
        ("values", False),
        ("values|sub:1", True),
    ]
    assert PieceReader().pieces_of(told, Wanted()) == []
