"""The schema is true: a tool that knows nothing else finds no answer that differs from it."""

import uuid
from collections.abc import Iterator
from itertools import cycle, product
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.console import Console
from tests.scale import IS_FULL, tries


def not_broken(context: Any, response: Any, case: Any) -> bool | None:
    """501 is an answer too: this is not offered here."""
    return None if response.status_code == 501 else not_a_server_error(context, response, case)


CHECKS = [not_broken, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = tries(1, full=15)
STREAMS = ["stream_run", "join_stream", "join_thread_stream"]
"""Their answers are events of the server, as long as a run or a client is there: test_streams.py reads them."""
OPERATIONS = [
    "list_approvals", "get_approval", "preview_edits", "cast_vote", "create_run", "list_runs", "get_run", "join_run",
    "retry_run",
    "give_up_run", "create_thread", "search_threads", "get_state_at_checkpoint", "get_state_at", "get_state",
    "get_history", "get_thread", "delete_thread", "list_graphs", "list_broken_graphs", "list_entries", "verify_log",
    "withdraw_vote", "cast_votes", "claim_approval", "release_approval", "cancel_run", "list_policies", "list_notices",
    "put_notice_away", "export_log", "get_receipt", "open_whole", "ask_question_again",
    "diagnose_thread", "fork", "replay", "bind", "list_changes", "confirm_change", "refuse_change", "get_two_admins",
    "set_two_admins", "get_run_log", "cancel_run_of_thread", "count_threads", "copy_thread", "update_thread",
    "update_state", "wait_for_run", *STREAMS,
    "search_assistants", "count_assistants", "get_assistant", "get_assistant_graph", "get_assistant_schemas",
    "get_assistant_subgraphs", "get_assistant_subgraph", "list_assistant_versions", "set_assistant_version", "is_ok",
    "get_info",
]  # fmt: skip
NOT_JSON = [*STREAMS, "export_log"]


@pytest.fixture(scope="module")
def document(console: Console) -> dict[str, Any]:
    return dict(httpx.get(f"{console.url}/api/openapi.json").json())


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_the_schema_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)


def test_every_operation_says_what_it_does_and_how_it_refuses(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        assert len(operation["description"]) > 20, path
        assert {"400", "401", "403", "422", "500", "503"} <= operation["responses"].keys(), path
        assert ("413" in operation["responses"]) == ("requestBody" in operation), path
        assert ("404" in operation["responses"]) == ("{" in path), (method, path)
        for status, answer in operation["responses"].items():
            if status == "204":
                continue
            assert answer["content"] and all(each["schema"] for each in answer["content"].values()), (path, status)
            assert "application/json" in answer["content"] or operation["operationId"] in NOT_JSON, path


def test_the_docs_page_lists_every_operation_and_loads_nothing_from_elsewhere(
    console: Console, document: dict[str, Any]
) -> None:
    page = httpx.get(f"{console.url}/api/docs")
    assert page.status_code == 200 and page.headers["Content-Type"].startswith("text/html")
    for method, path, operation in operations(document):
        assert f"{method.upper()} {path}" in page.text and f'id="{operation["operationId"]}"' in page.text
    assert "seen_digest" in page.text and "Authorization: Bearer TOKEN" in page.text
    elsewhere = [part for part in page.text.split('"') if part.startswith(("http:", "https:", "//"))]
    assert elsewhere == []


def test_no_operation_is_left_out_here(document: dict[str, Any]) -> None:
    assert sorted(OPERATIONS) == sorted(operation["operationId"] for _, _, operation in operations(document))


@pytest.fixture(scope="module")
def known(console: Console) -> dict[str, str]:
    """Ids of things that exist, so that not every request ends at a 404."""
    from django.contrib.auth.models import User

    from approvals.models import Notice

    approval = console.pause("gated", {"text": "schemathesis"})
    alice = User.objects.get(username="alice")
    notice = Notice.objects.create(user_id=alice.pk, approval_id=approval["id"], text="The agent moved on.")
    with console.api("root") as root:
        [run] = root.get(f"/threads/{approval['thread_id']}/runs").json()
    return {
        "approval_id": approval["id"],
        "thread_id": approval["thread_id"],
        "checkpoint_id": approval["checkpoint_id"],
        "run_id": run["run_id"],
        "notice_id": str(notice.pk),
        "change_id": str(uuid.uuid4()),
        "assistant_id": "gated",
        "namespace": "sub",
    }


@pytest.fixture(scope="module")
def api(console: Console) -> Any:
    return schemathesis.openapi.from_url(f"{console.url}/api/openapi.json")


MODES = {"fitting": GenerationMode.POSITIVE, "unfitting": GenerationMode.NEGATIVE}
ASKED = [each for each in OPERATIONS if each not in (*STREAMS, "set_two_admins")]  # that would be set for everybody
TAKE_NOTHING = ("is_ok", "get_info")
"""They have no parameters and no token, so nothing is unfitting."""
USUAL = dict(zip(ASKED, cycle(MODES)))
"""By default an admin asks each operation in one of the two ways and a reviewer in the other, FULL=1 both in both."""
CASES = [
    (each, name, mode)
    for each, name, mode in product(ASKED, ["root", "alice"], MODES)
    if (IS_FULL or (mode == USUAL[each]) == (name == "alice")) and not (mode == "unfitting" and each in TAKE_NOTHING)
]


@pytest.mark.parametrize(("operation_id", "name", "how"), CASES)
def test_every_answer_is_as_the_schema_says(
    console: Console, api: Any, known: dict[str, str], operation_id: str, name: str, how: str
) -> None:
    operation = api.find_operation_by_id(operation_id)
    headers = {"Authorization": f"Bearer {console.token(name)}"}

    @seed(20260503)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=MODES[how]), is_known=st.booleans())
    def ask(case: Any, is_known: bool) -> None:
        if is_known and operation_id != "delete_thread":
            case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
        case.call_and_validate(headers=headers, checks=CHECKS)

    ask()
