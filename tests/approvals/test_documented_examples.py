"""The documented examples of people in the loop (tests/documented.py), from their start to their end."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.approvals.test_answers import answer, asked, decide, values
from tests.approvals.test_answers_matrix import calls
from tests.console import Console
from tests.dialects import did
from tests.scale import share
from tests.voting import code_of, read, vote


def said_by_tools(console: Console, thread_id: str) -> list[str]:
    return [each["content"] for each in values(console, thread_id)["messages"] if each["type"] == "tool"]


@pytest.mark.parametrize(("given", "status"), share([(True, "published"), (False, "dropped")], 0, of=2))
def test_approve_or_reject_goes_where_the_answer_says(console: Console, given: bool, status: str) -> None:
    approval = console.pause("x_publishing", {"text": "A draft."})
    assert (approval["title"], approval["summary"]) == ("Question: “Publish this?”", "draft: “A draft.”")
    assert answer(console, approval, given)["status"] == "finished"
    assert values(console, approval["thread_id"])["status"] == status


def test_a_summary_is_reviewed_and_replaced(console: Console) -> None:
    approval = console.pause("x_reviewing", {"text": "A long story."})
    assert approval["title"] == "Question: “Correct the summary.”"
    assert approval["request"]["value"]["summary"] == "In short: A long story."
    assert answer(console, approval, {"summary": "Shorter."})["status"] == "finished"
    assert values(console, approval["thread_id"])["text"] == "Shorter."


def test_a_node_asks_until_the_answer_is_right(console: Console) -> None:
    approval = console.pause("x_validating", {"text": "x"})
    for wrong in ("forty", -1):
        assert answer(console, approval, wrong)["status"] == "paused"
        approval = console.pending(approval["thread_id"])
        assert approval["title"] == f"Question: “{wrong!r} is no age. How old are you, in whole years?”"
    assert answer(console, approval, 40)["status"] == "finished"
    assert values(console, approval["thread_id"])["age"] == 40


@pytest.mark.full
def test_several_questions_at_once_are_each_answered(console: Console) -> None:
    thread_id = console.pause("x_revising", {"text": "x"})["thread_id"]
    by_node = {each["next"][0]: each for each in asked(console, thread_id).values()}
    assert answer(console, by_node["revise_body"], "The body.")["status"] == "paused"
    assert answer(console, by_node["revise_title"], "The title.")["status"] == "finished"
    assert values(console, thread_id)["parts"] == ["The body.", "The title."]


@pytest.mark.parametrize(
    ("given", "booked"),
    share([({"type": "accept"}, "Ritz"), ({"type": "edit", "args": {"hotel": "Savoy"}}, "Savoy")], 1, of=2),
)
def test_a_tool_asks_before_it_books(console: Console, data_dir: Path, given: Any, booked: str) -> None:
    approval = console.pause("x_booking", calls(("book_hotel", {"hotel": "Ritz"})))
    assert approval["title"].startswith("Question: “May I call book_hotel with hotel Ritz?")
    assert answer(console, approval, given)["status"] == "finished"
    assert did(approval["thread_id"], data_dir) == [{"name": "book_hotel", "args": {"hotel": booked}}]


def test_two_tools_of_one_turn_ask_and_are_answered_apart(console: Console, data_dir: Path) -> None:
    mail = ("send_email", {"to": "a@example.com", "subject": "Hello"})
    thread_id = console.pause("x_booking", calls(mail, ("book_hotel", {"hotel": "Ritz"})))["thread_id"]
    waiting = asked(console, thread_id)
    assert (
        answer(console, waiting["Question: “Send this mail?”"], {"action": "approve", "subject": "Hi"})["status"]
        == "paused"
    )
    [hotel] = asked(console, thread_id).values()
    assert answer(console, hotel, {"type": "accept"})["status"] == "finished"
    done = {each["name"]: each["args"] for each in did(thread_id, data_dir)}
    assert done == {"send_email": {"to": "a@example.com", "subject": "Hi"}, "book_hotel": {"hotel": "Ritz"}}


def test_the_middleware_lets_reads_through_and_asks_about_the_rest(console: Console, data_dir: Path) -> None:
    write = ("write_file", {"path": "a.txt", "content": "x"})
    statement = ("execute_sql", {"query": "DELETE FROM records"})
    approval = console.pause("x_filing", calls(write, statement, ("read_data", {"table": "records"})))
    assert approval["title"] == "2 actions: write_file, execute_sql"
    assert [action["allowed"] for action in approval["actions"]] == [
        ["approve", "edit", "reject", "respond"],
        ["approve", "reject"],
    ]
    assert approval["actions"][1]["description"] == "Look at the statement."
    edited = {"type": "edit", "edited_action": {"name": "write_file", "args": {"path": "b.txt", "content": "x"}}}
    swapped = {"decisions": [{"type": "approve"}, edited]}
    assert code_of(vote(console, "alice", approval, "respond", answer=swapped)) == (422, "invalid_answer")
    given = {"decisions": [edited, {"type": "reject", "message": "Not on a Friday."}]}
    assert answer(console, approval, given)["status"] == "finished"
    done = {each["name"]: each["args"] for each in did(approval["thread_id"], data_dir)}
    assert done == {"write_file": {"path": "b.txt", "content": "x"}, "read_data": {"table": "records"}}
    told = " ".join(said_by_tools(console, approval["thread_id"]))
    assert "Not on a Friday." in told
    assert read(console, approval)["decision"]["deviations"] == []


def test_a_read_alone_asks_nobody(console: Console, data_dir: Path) -> None:
    thread_id = console.start_run("x_filing", calls(("read_data", {"table": "records"})))
    approval = console.pause("x_filing", calls(("ask_user", {"question": "Which one?"})))
    assert did(thread_id, data_dir) == [{"name": "read_data", "args": {"table": "records"}}]
    # What a person answers in a tool's place goes to the model as if the tool had said it.
    assert approval["allowed_verdicts"] == ["respond"]
    given = {"decisions": [{"type": "respond", "message": "The second."}]}
    assert answer(console, approval, given)["status"] == "finished"
    assert said_by_tools(console, approval["thread_id"]) == ["The second."]


@pytest.mark.parametrize(
    ("ballot", "told"),
    share(
        [
            ({"verdict": "approve"}, "[('Jazz',), ('Rock',)]"),
            (
                [{"type": "edit", "args": {"action": "run_query", "args": {"query": "SELECT count(*) FROM genre"}}}],
                "[(2,)]",
            ),
            ([{"type": "response", "args": "Sort it the other way."}], "The person says: Sort it the other way."),
        ],
        1,
        of=3,
    ),
)
def test_a_statement_is_reviewed_before_it_runs(console: Console, ballot: Any, told: str) -> None:
    question = {"messages": [{"role": "user", "content": "SELECT name FROM genre ORDER BY name"}]}
    approval = console.pause("x_querying", question)
    assert (approval["kind"], approval["summary"]) == ("legacy", "The agent says: “Review the statement.”")
    assert approval["title"] == "run_query(query “SELECT name FROM genre ORDE…”)"
    assert approval["allowed_verdicts"] == ["approve", "respond"], "this one may not be ignored"
    if isinstance(ballot, list):
        run = answer(console, approval, ballot)
    else:
        run = decide(console, approval, **ballot)
    assert run["status"] == "finished"
    assert said_by_tools(console, approval["thread_id"]) == [told]


def test_the_functional_way_asks_as_well(console: Console) -> None:
    approval = console.pause("x_essay", {"topic": "cats"})
    assert (approval["title"], approval["summary"]) == ("Question: “Is it good?”", "essay: “An essay about cats.”")
    assert answer(console, approval, {"is_good": True})["status"] == "finished"
    assert "An essay about cats." in json.dumps(values(console, approval["thread_id"]))
