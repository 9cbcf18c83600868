"""What templates are given: text that hides nothing, values with their type, trees, conversations, pictures."""

import json
from typing import Any

import pytest

from approvals.domain.text import count_odd, json_text, plain_visible, visible, words_for
from approvals.presenters.graphs import END, NODE_HEIGHT, START, drawing_of
from approvals.presenters.values import (
    MOST_BRANCHES,
    arguments_of,
    conversations_of,
    differences,
    state_of,
    tree_of,
    value_of,
)


def card(*edges: tuple[str, str], gate: str = "") -> dict[str, Any]:
    names = dict.fromkeys(name for edge in edges for name in edge if name not in (START, END))
    return {
        "nodes": [
            {"id": name, "title": name.title(), "description": "", "gate": "before" if name == gate else None}
            for name in names
        ],
        "edges": [{"source": source, "target": target, "conditional": False} for source, target in edges],
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("pay \u202eeil", "U+202E"),
        ("zero\u200bwidth", "U+200B"),
        ("soft\u00adhyphen", "U+00AD"),
        ("nul\x00", "U+0000"),
        ("ansi\x1b[31m", "U+001B"),
        ("lone\ud800", "U+D800"),
        ("tag\U000e0041", "U+E0041"),
        ("private\ue000", "U+E000"),
        ("alone\rcarriage", "U+000D"),
        ("separator\u2028", "U+2028"),
    ],
)
def test_what_cannot_be_seen_is_drawn_as_a_chip_and_counted(text: str, code: str) -> None:
    assert f">{code}</span>" in visible(text)
    assert code in plain_visible(text)
    assert count_odd(text) == 1
    visible(text).encode()  # a lone surrogate would break the response


@pytest.mark.parametrize(
    "text", ["a\tb\nc", "a\r\nb", "Nguyễn Thị Lan Anh", "Yıldırım", "日本語", "heart ❤️", "a\u00a0b"]
)
def test_ordinary_text_of_any_language_has_no_chips(text: str) -> None:
    assert "odd" not in visible(text)
    assert count_odd(text) == 0


def test_markup_in_a_text_is_text() -> None:
    assert visible("<script>alert(1)</script> & {{ 7*7 }}") == "&lt;script&gt;alert(1)&lt;/script&gt; &amp; {{ 7*7 }}"


def test_odd_characters_are_counted_in_keys_and_values_at_any_depth() -> None:
    assert count_odd({"a\u200b": ["x", {"b": "\u202e\u202e"}], "n": 1}) == 3


def test_json_for_people_is_still_json() -> None:
    value = {"name": "Siân", "trick": "\u202e\u200b\x7f\U000e0041", "n": 640.0}
    text = json_text(value)
    assert "Siân" in text and count_odd(text) == 0
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("item", "kind", "text"),
    [
        (None, "null", "nothing"),
        (True, "bool", "true"),
        (640.0, "number", "640.0"),
        (3, "number", "3"),
        ("", "text", ""),
        ("x\ny", "text", "x\ny"),
        ([], "null", "empty"),
        ({}, "null", "empty"),
        (["a", 1], "list", "2 items"),
    ],
)
def test_a_value_keeps_its_type(item: Any, kind: str, text: str) -> None:
    value = value_of(item)
    assert (value.kind, value.text) == (kind, text)


def test_nested_arguments_are_shown_whole_as_json() -> None:
    (argument,) = arguments_of({"plan": {"steps": ["a" * 5000]}}, {"plan": "Plan"})
    assert argument.title == "Plan"
    assert "a" * 5000 in argument.value.text


def test_a_payload_that_is_no_object_is_shown_without_a_name() -> None:
    (argument,) = arguments_of("Shall I?", {})
    assert (argument.name, argument.value.text) == ("", "Shall I?")


def test_messages_become_a_conversation_and_leave_the_tree() -> None:
    state = {
        "messages": [
            {"type": "human", "content": "Hello", "name": "customer"},
            {"type": "ai", "content": [{"type": "text", "text": "Hi"}], "tool_calls": [{"name": "pay", "args": {}}]},
            {"type": "strange", "content": {"a": 1}},
        ],
        "risk": "low",
    }
    ((name, turns),) = conversations_of(state)
    assert name == "messages"
    assert [turn.type for turn in turns] == ["human", "ai", "other"]
    assert turns[0].speaker == "Person (customer)"
    assert turns[1].text == "Hi" and '"pay"' in turns[1].extra
    assert [line.key for line in state_of(state).tree] == ["risk"]


def test_a_tree_opens_and_closes_as_often() -> None:
    lines, is_cut = tree_of({"a": {"b": [1, {"c": []}]}, "d": "x"})
    assert not is_cut
    assert [line.kind for line in lines].count("open") == [line.kind for line in lines].count("close") == 3
    assert [line.key for line in lines if line.kind != "close"] == ["a", "b", "0", "1", "c", "d"]


def test_a_deep_state_does_not_exhaust_the_stack() -> None:
    deep: Any = "end"
    for _ in range(200):
        deep = {"in": deep}
    assert len(state_of(deep).tree) == 2 * 199 + 1


def test_a_huge_state_is_cut_and_says_so() -> None:
    shown = state_of({"many": {str(number): number for number in range(100_000)}})
    assert shown.is_cut and not shown.raw
    assert len(shown.tree) <= MOST_BRANCHES + 1
    assert shown.tree[-1].kind == "close"


def test_differences_name_what_changed() -> None:
    (found,) = differences({"a": 1, "b": 2}, {"a": 1, "b": 2.0})
    assert (found.channel, found.before.text, found.after.text) == ("b", "2", "2.0")


def test_a_graph_is_drawn_from_start_to_end() -> None:
    drawing = drawing_of(card((START, "check"), ("check", "pay"), ("pay", END), gate="pay"), here=["pay"])
    by_id = {box.id: box for box in drawing.boxes}
    assert by_id[START].y < by_id["check"].y < by_id["pay"].y < by_id[END].y
    assert (by_id["pay"].state, by_id["pay"].gate) == ("here", "before")
    assert len(drawing.lines) == 3
    assert "Waits at: Pay" in drawing.sentence


def test_branches_stand_side_by_side() -> None:
    drawing = drawing_of(card((START, "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", END)))
    by_id = {box.id: box for box in drawing.boxes}
    assert by_id["b"].y == by_id["c"].y and by_id["b"].x != by_id["c"].x
    assert by_id["d"].y > by_id["b"].y


def test_a_circle_and_a_short_cut_are_drawn_too() -> None:
    drawing = drawing_of(card((START, "agent"), ("agent", "tools"), ("tools", "agent"), ("agent", END)))
    assert len(drawing.boxes) == 4 and len(drawing.lines) == 4
    assert all(0 <= box.x <= drawing.width and box.y + NODE_HEIGHT <= drawing.height for box in drawing.boxes)


def test_a_node_shows_what_its_run_came_to() -> None:
    drawing = drawing_of(card((START, "a"), ("a", "b"), ("b", END)), states={"a": "done", "b": "running"})
    assert {box.id: box.state for box in drawing.boxes if box.state} == {"a": "done", "b": "running"}


def test_a_graph_without_nodes_is_still_a_picture() -> None:
    assert drawing_of({"nodes": [], "edges": []}).boxes


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "<1 min"), (59, "<1 min"), (60, "1 min"), (7200, "2 h"), (200_000, "2 d")]
)
def test_an_age_is_said_in_words(seconds: float, words: str) -> None:
    assert words_for(seconds) == words
