"""The edit of a state as a form: objects, lists and messages as fields; what nobody touched is not sent."""

from pathlib import Path
from typing import Any

import pytest

from agentcore.graphs import cards
from agentcore.plain import edits as state_edit
from agentcore.plain.masks import MASK
from approvals.forms.edits import EditForm
from tests.console import Console
from tests.edited import drifting, graph
from tests.voting import policy, read, vote

pytestmark = pytest.mark.usefixtures("database")
CARD = cards.card("edited", graph)
STOP = {"stop": {"op": "set", "value": True}}
CALL = {"name": "look_up", "args": {"city": "Delft", "limit": 3}, "id": "call-1", "type": "tool_call"}
STATE: dict[str, Any] = {
    "order": {"id": "A-1", "due": "2026-03-01", "to": {"street": "Oude Delft 1", "city": "Delft"}, "lines": ["lamp"]},
    "priority": "low",
    "messages": [
        {"type": "human", "content": "Send the lamp.\n", "id": "m1"},
        {"type": "ai", "content": "I look.", "id": "m2", "tool_calls": [CALL]},
        {"type": "tool", "content": [{"type": "text", "text": "Two."}], "id": "m3", "tool_call_id": "call-1"},
    ],
    "facts": {"depots": 2},
    "total": 3,
    "notes": ["begun"],
}


def form_with(data: dict[str, str] | None = None, **more: Any) -> EditForm:
    return EditForm(CARD.channels, STATE, thread_id="t", data=data, **more)


def sent(**changed: str) -> dict[str, str]:
    """What a browser sends when only these fields were changed; `__` stands for `-`."""
    form = form_with()
    every = [
        form,
        *form.parts.values(),
        *form.talks.values(),
        *(c for t in form.talks.values() for c in t.calls.values()),
    ]
    texts = {name: str(field.initial or "") for each in every for name, field in each.fields.items()}
    texts = {name: text for name, text in texts.items() if not name.endswith("-remove")}
    return {**texts, **{name.replace("__", "-"): text for name, text in changed.items()}}


def edits_of(**changed: str) -> dict[str, Any]:
    form = form_with(sent(**changed))
    assert form.is_valid(), form.errors
    found = form.edits()
    state_edit.check_edits(CARD.channels, found)
    return found


def test_nothing_is_sent_when_nothing_was_changed() -> None:
    assert edits_of() == {}


def test_a_field_deep_in_an_object_is_changed_and_the_rest_of_it_stays() -> None:
    found = edits_of(**{"edit__order__to__city": "Gouda"})
    assert found == {
        "order": {"op": "set", "value": STATE["order"] | {"to": {"street": "Oude Delft 1", "city": "Gouda"}}}
    }


def test_a_message_is_sent_by_its_id_and_the_others_are_not() -> None:
    found = edits_of(**{"talk__messages__0__text": "Send two."})
    assert found == {"messages": {"op": "append", "value": [{"type": "human", "content": "Send two.", "id": "m1"}]}}


def test_an_argument_of_a_tool_call_is_a_field_and_keeps_its_type() -> None:
    found = edits_of(**{"talk__messages__1__calls__0__args__limit": "5"})
    [message] = found["messages"]["value"]
    assert message["tool_calls"] == [CALL | {"args": {"city": "Delft", "limit": 5}}]
    assert type(message["tool_calls"][0]["args"]["limit"]) is int


def test_a_message_is_taken_out_and_one_is_added() -> None:
    found = edits_of(
        **{
            "talk__messages__2__remove": "on",
            "talk__messages__new__text": "Well?",
            "talk__messages__new__role": "system",
        }
    )
    assert found["messages"]["value"] == [
        {"type": "remove", "content": "", "id": "m3"},
        {"type": "system", "content": "Well?"},
    ]


def test_content_in_blocks_is_edited_as_json_and_a_mistake_is_told_at_it() -> None:
    form = form_with(sent(**{"talk__messages__2__text": "[{"}))
    assert not form.is_valid()
    assert list(form.talks["messages"].errors) == ["talk-messages-2-text"]


@pytest.mark.parametrize(
    "edits",
    [
        {"order": {"op": "set", "value": STATE["order"] | {"id": "B-2"}}},
        {"messages": {"op": "append", "value": [{"type": "human", "content": "Other.", "id": "m1"}]}},
        {
            "messages": {
                "op": "append",
                "value": [{"type": "remove", "content": "", "id": "m1"}, {"type": "human", "content": "New."}],
            }
        },
        {"total": {"op": "append", "value": 4}, "facts": {"op": "replace", "value": {"depots": 3}}},
    ],
    ids=["an object", "a message", "one out and one in", "a sum and keys"],
)
def test_edits_that_are_known_fill_the_form(edits: dict[str, Any]) -> None:
    texts = form_with().texts_of(edits)
    form = form_with(texts)
    assert form.is_valid(), form.errors
    assert form.edits() == edits


def test_messages_that_have_no_place_on_the_form_are_left_to_json() -> None:
    assert form_with().texts_of({"messages": {"op": "replace", "value": []}}) is None
    new = {"type": "human", "content": "New."}
    assert form_with().texts_of({"messages": {"op": "append", "value": [new, new]}}) is None


def test_a_button_of_a_part_changes_that_part_only() -> None:
    form = form_with(sent(**{"edit__order__id": "B-2"}))
    assert form.change("json:edit-order")
    assert form.parts["edit-order"].is_json
    assert not form.change("json:edit-ord")
    assert not form.change("preview")


def test_a_secret_is_never_on_the_form_and_a_new_one_is_encrypted() -> None:
    state = STATE | {"priority": MASK}
    form = EditForm(CARD.channels, state, secrets=["priority"], thread_id="t", data={"edit-priority": '"high"'})
    assert form.is_valid()
    encrypted = form.edits()["priority"]["value"]
    assert encrypted.startswith("sealed:")
    assert form["edit-priority"].value() == encrypted
    again = EditForm(CARD.channels, state, secrets=["priority"], thread_id="t", data={"edit-priority": encrypted})
    assert again.is_valid()
    assert again.edits() == form.edits()


def test_faults_are_shown_at_the_part_they_name() -> None:
    form = form_with(sent())
    form.add_faults([{"path": "order/value/to/city", "message": "Not there."}])
    assert form.parts["edit-order"].errors["edit-order-to-city"] == ["Not there."]


def test_the_card_of_an_earlier_worker_is_still_read() -> None:
    from approvals.models import Graph

    channel = {"name": "a", "type": "str", "is_reducer": False, "schema": {}}
    names = ("nodes", "edges")
    old = {"id": "old", "channels": [channel], "input_schema": None, "input_schema_problem": "", "code_digest": ""}
    card = Graph(id="old", card=old | {name: [] for name in names}).record
    assert (card.channels[0].words, card.secrets) == ("", ())
    [group] = EditForm(card.channels, {"a": "x"}).groups()
    assert group.words == "replaces"


def test_an_edit_that_leads_elsewhere_than_was_shown_is_held_back_and_asked_anew(
    console: Console, data_dir: Path
) -> None:
    with policy("fickle", approvals=2):
        approval = console.pause("fickle", {"drifted": 71, "facts": {}})
    vote(console, "alice", approval, edits=STOP).raise_for_status()
    drifting(data_dir, 71).touch()
    vote(console, "bob", read(console, approval)).raise_for_status()
    run = console.run_of(approval["id"], until=("superseded",))
    assert run["problem"].startswith("Held back: the edit led to something else than the preview showed")
    assert run["steps"] == []
    assert console.pending(approval["thread_id"])["id"] != approval["id"]
