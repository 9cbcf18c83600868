"""Rights are those of the moment: who loses them while they wait for a lock does nothing more."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from agentcore.testing import failpoints
from tests.console import Console, wait_for

ROLES = ("reviewer", "operator", "admin")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND %s = ANY(pg_blocking_pids(pid))"


@pytest.fixture(scope="module")
def approval(console: Console) -> dict[str, Any]:
    """One question: nothing that is refused changes it."""
    return console.pause("gated", {"seconds": 0})


@pytest.fixture
def rita(database: str) -> Iterator[Any]:
    """Somebody who may do everything, and came with a token."""
    from django.contrib.auth.models import Group, User

    from approvals.actions.people.sign_in import make_token, user_of_token

    made = User.objects.create(username=f"rita-{uuid.uuid4().hex[:8]}")
    made.groups.set(Group.objects.filter(name__in=ROLES))
    came = user_of_token(make_token(made))
    yield came
    made.is_active = True
    made.save()
    made.groups.clear()


def deactivated(rita: Any) -> None:
    from django.contrib.auth.models import User

    person = User.objects.get(pk=rita.pk)
    person.is_active = False
    person.save()


def without_a_role(rita: Any) -> None:
    from django.contrib.auth.models import User

    User.objects.get(pk=rita.pk).groups.clear()


def without_the_token(rita: Any) -> None:
    from approvals.models import ApiToken

    ApiToken.objects.filter(user_id=rita.pk).delete()


LOSSES = (deactivated, without_a_role, without_the_token)


def _vote(approval: dict[str, Any], by: Any) -> Any:
    from approvals.actions.votes import ballots, votes

    ballot = ballots.Ballot("approve", approval["digest"], {})
    return votes.cast(approval_id=uuid.UUID(approval["id"]), ballot=ballot, by=by)


def _actions() -> dict[str, Callable[[dict[str, Any], Any], Any]]:
    """Return what takes the lock of a thread for a person, by its name."""
    from approvals.actions.runs import controls, starts
    from approvals.actions.threads import cleaning, replays
    from approvals.actions.votes import claims, repairs, votes
    from approvals.models import Run

    def run_of(approval: dict[str, Any]) -> uuid.UUID:
        return Run.objects.filter(thread_id=approval["thread_id"]).latest("created_at").pk

    def of(approval: dict[str, Any]) -> uuid.UUID:
        return uuid.UUID(approval["id"])

    return {
        "vote": _vote,
        "withdraw": lambda asked, by: votes.withdraw(approval_id=of(asked), by=by),
        "claim": lambda asked, by: claims.claim(approval_id=of(asked), by=by),
        "release": lambda asked, by: claims.release(approval_id=of(asked), by=by),
        "retry": lambda asked, by: controls.retry_run(run_id=run_of(asked), by=by),
        "give up": lambda asked, by: controls.give_up_run(run_id=run_of(asked), by=by),
        "cancel": lambda asked, by: controls.cancel_run(run_id=run_of(asked), by=by),
        "ask again": lambda asked, by: repairs.ask_again(thread_id=asked["thread_id"], by=by),
        "start": lambda asked, by: starts.start_run(
            thread_id=asked["thread_id"], graph_id="gated", input={"seconds": 0}, by=by
        ),
        "replay": lambda asked, by: replays.replay_thread(
            thread_id=asked["thread_id"], checkpoint_id="", typed_id=asked["thread_id"], by=by
        ),
        "force-clean": lambda asked, by: cleaning.force_clean(thread_id=asked["thread_id"], reason="because", by=by),
    }


NAMES = (
    "vote", "withdraw", "claim", "release", "retry", "give up", "cancel", "ask again", "start", "replay", "force-clean",
)  # fmt: skip


@contextmanager
def locked(database: str, statement: str, *values: Any) -> Iterator[Callable[[], bool]]:
    """Hold a row from another connection; yields whether somebody waits for it."""
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as watcher:
        holder.execute(f"SELECT 1 FROM {statement} FOR UPDATE", values)  # type: ignore[arg-type]

        def is_waiting() -> bool:
            row = watcher.execute(WAITING, [holder.info.backend_pid]).fetchone()
            return bool(row and row[0])

        yield is_waiting
        holder.rollback()


def done_while_waiting(database: str, act: Callable[[], Any], meanwhile: Callable[[], None], *row: Any) -> str:
    """Let `act` wait for a row, do something meanwhile, then let it go on; return how it was refused, if it was."""
    from django.db import connection

    from approvals.errors import Refusal

    def answer() -> str:
        try:
            act()
        except Refusal as refusal:
            return refusal.code
        finally:
            connection.close()
        return "done"

    with ThreadPoolExecutor(1) as pool:
        with locked(database, *row) as is_waiting:
            came = pool.submit(answer)
            wait_for(is_waiting, what="the action to wait for the lock")
            meanwhile()
        return came.result(timeout=30)


THREAD = "approvals_thread WHERE id = %s"


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", NAMES)
def test_who_loses_their_rights_while_they_wait_is_refused(
    database: str, approval: dict[str, Any], rita: Any, name: str, loss: Callable[[Any], None]
) -> None:
    act = _actions()[name]
    came = done_while_waiting(database, lambda: act(approval, rita), lambda: loss(rita), THREAD, approval["thread_id"])
    assert came == "denied"


@pytest.mark.parametrize("loss", LOSSES)
def test_policies_and_people_are_changed_by_who_may_this_moment(
    database: str, rita: Any, loss: Callable[[Any], None]
) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.people import people, policies
    from tests.voting import policy

    before = people.rights_of(rita)
    vera = User.objects.create(username=f"vera-{uuid.uuid4().hex[:8]}")
    with policy("voting", node="act", tool=uuid.uuid4().hex) as made:
        came = done_while_waiting(
            database, lambda: policies.note_change(made, by=rita), lambda: loss(rita),
            "approvals_policy WHERE id = %s", made.pk,
        )  # fmt: skip
    assert came == "denied"
    restored(rita)
    came = done_while_waiting(
        database, lambda: people.note_change(vera, before=before, by=rita), lambda: loss(rita),
        "auth_group WHERE name = %s", "admin",
    )  # fmt: skip
    assert came == "denied"


def restored(rita: Any) -> None:
    from django.contrib.auth.models import Group, User

    from approvals.actions.people.sign_in import make_token, user_of_token
    from approvals.domain import permissions

    person = User.objects.get(pk=rita.pk)
    person.is_active = True
    person.save()
    person.groups.set(Group.objects.filter(name__in=ROLES))
    again = user_of_token(make_token(person))
    assert again is not None
    permissions.note_token(rita, permissions.token_of(again))
    permissions.check_again(rita, "view")


def test_control_without_the_second_look_the_vote_counts(
    database: str, console: Console, rita: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = console.pause("gated", {"seconds": 0})
    monkeypatch.setenv("COUNTERSIGN_TESTING", "1")
    failpoints.arm("rights_again", "off")
    failpoints.arm("row_check", "off")  # the log would know as well
    try:
        came = done_while_waiting(
            database, lambda: _vote(asked, rita), lambda: deactivated(rita), THREAD, asked["thread_id"]
        )
    finally:
        failpoints.disarm()
    assert came == "done"
