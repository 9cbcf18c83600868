"""The log as it grows: appended to by many at once, signed, erased from; never a false alarm."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import audit_logs
from tests.scale import tries

LOGS = tries(8, full=100)
SEED = 4711
AT_ONCE = 16


@pytest.fixture(scope="module")
def alias(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("audit")
    with audit_logs.own_database(database) as alias, audit_logs.own_folder(folder):
        yield alias


@pytest.fixture
def folder(alias: str) -> Path:
    """An empty log; its folder."""
    from django.conf import settings

    audit_logs.empty(settings.AUDIT_DIR)
    return Path(settings.AUDIT_DIR)


def verified() -> Any:
    from approvals import audit

    found = audit.verify()
    assert found.ok, found
    return found


# --- appending


def append_together(alias: str, each: int) -> list[BaseException]:
    """Append from sixteen threads that begin at the same moment; return what went wrong."""
    from approvals import audit

    together = threading.Barrier(AT_ONCE)

    def work(person: int) -> BaseException | None:
        with audit_logs.use(alias):
            together.wait()
            try:
                for index in range(each):
                    about = {"n": index}
                    audit.append("run.started", actor=f"person {person}", object=about, texts={"comment": "x"})
            except Exception as error:  # noqa: BLE001 - the test asks what it was
                return error
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [error for error in pool.map(work, range(AT_ONCE)) if error]


def test_sixteen_at_once_leave_no_gap_and_no_fork(alias: str, folder: Path) -> None:
    before = verified().entries
    assert append_together(alias, each=20) == []
    assert verified().entries == before + AT_ONCE * 20


def test_control_without_the_lock_on_the_head_they_collide(alias: str, folder: Path) -> None:
    from django.db import connections

    with connections[alias].cursor() as cursor, audit_logs.without_chain_lock(cursor.execute):
        assert {type(error).__name__ for error in append_together(alias, each=20)} == {"IntegrityError"}
    verified()  # the database refused the forks


def test_an_entry_of_a_transaction_that_fails_was_never_there(alias: str, folder: Path) -> None:
    from approvals import audit
    from approvals.models import AuditText

    before = verified().entries
    audit.append("run.started", actor="alice")
    with pytest.raises(ZeroDivisionError), audit.transaction():
        audit.append("vote.cast", actor="alice", texts={"comment": "secret"})
        _ = 1 / 0
    audit.append("run.finished", actor="alice")
    assert verified().entries == before + 2
    assert not AuditText.objects.exists()


def test_entries_are_appended_at_the_end_of_their_transaction_and_the_head_is_free_until_then(
    alias: str, folder: Path
) -> None:
    from django.db import connection

    from approvals import audit
    from approvals.models import AuditEntry

    other = connection.copy()
    try:
        with audit.transaction():
            audit.append("run.started", actor="first")
            with pytest.raises(ValueError, match="undone"), audit.transaction():
                audit.append("run.started", actor="undone")
                raise ValueError("undone")
            with audit.transaction():
                audit.append("run.started", actor="second")
            with other.cursor() as cursor:
                cursor.execute("SELECT seq FROM approvals_audithead FOR UPDATE NOWAIT")
            assert not AuditEntry.objects.filter(actor__in=["first", "second"]).exists()
    finally:
        other.close()
    found = AuditEntry.objects.filter(actor__in=["first", "second", "undone"]).order_by("seq")
    assert [entry.actor for entry in found] == ["first", "second"]
    assert verified().ok


def test_whoever_appends_in_a_transaction_that_may_go_on_is_refused(alias: str, folder: Path) -> None:
    from django.db import transaction

    from approvals import audit

    before = verified().entries
    for begin in (lambda: audit.append("run.started", actor="early"), audit.transaction().__enter__):
        with pytest.raises(AssertionError, match="the head of the audit log is locked last"), transaction.atomic():
            begin()
    assert verified().entries == before


def test_what_django_removes_by_itself_has_its_entries_at_the_end_of_each_signal(alias: str, folder: Path) -> None:
    from django.contrib.auth.models import Group, User
    from django.db import transaction

    from approvals.models import AuditEntry

    with transaction.atomic():
        person, group = User.objects.create(username="gone"), Group.objects.create(name="gone")
        person.groups.add(group)
        group.delete()
    changed = AuditEntry.objects.filter(action="person.changed").order_by("seq")
    told = [entry.record["object"].get("change", "person") for entry in changed]
    assert told[-5:] == ["person", "made", "person", "person", "removed"]
    assert verified().ok


def test_a_comment_is_not_in_the_entry_and_two_equal_ones_have_other_digests(alias: str, folder: Path) -> None:
    from approvals import audit
    from approvals.models import AuditEntry

    for _ in range(2):
        audit.append("vote.cast", actor="alice", texts={"comment": "no"})
    one, two = (entry.record for entry in AuditEntry.objects.order_by("-seq")[:2])
    assert one["texts"] == ["comment"] and "no" not in one["digests"].values()
    assert one["digests"]["comment"] != two["digests"]["comment"]


# --- logs in which nothing is wrong


def test_logs_that_nobody_touched_are_intact(alias: str, folder: Path) -> None:
    """Sizes, texts, erasures, force-cleaned threads and signatures by the dice; writers go on while it is walked."""
    from approvals import audit

    said: list[int] = []
    for number in range(LOGS):
        audit_logs.empty(folder)
        dice = random.Random(SEED + number)
        for _ in range(dice.randrange(4)):
            audit_logs.grow(dice.choice([0, 1, 2, 5, 12]), dice.randrange(10**9))
            if dice.random() < 0.4:
                clean_or_erase(dice)
            if dice.random() < 0.5:
                sign()
        if number % 10 == 0:
            with writing(alias, SEED + number):
                said += [verified().entries for _ in range(5)]
        found = audit.verify()
        assert found.ok, (SEED + number, found)
    assert len(set(said)) > LOGS // 5, "nothing was written while the log was walked"


def test_what_is_signed_between_the_snapshot_and_the_file_is_no_alarm(
    alias: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verifier has its snapshot; two more heads reach the file before it is read."""
    from approvals.audit import folder as kept

    audit_logs.grow(5, SEED)
    sign()
    read = kept.iter_heads

    def later(*begin: int) -> Any:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(grow_and_sign_twice, alias).result()
        return read(*begin)

    monkeypatch.setattr(kept, "iter_heads", later)
    assert verified().warnings == []


def grow_and_sign_twice(alias: str) -> None:
    with audit_logs.use(alias):
        for _ in range(2):
            audit_logs.grow(5, SEED)
            sign()


@contextmanager
def writing(alias: str, seed: int) -> Iterator[None]:
    """Append and sign in a thread until the block ends."""
    stop = threading.Event()

    def write() -> None:
        with audit_logs.use(alias):
            while not stop.is_set():
                audit_logs.grow(3, seed)
                sign()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def clean_or_erase(dice: random.Random) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.audit_log.texts import erase_text
    from approvals.actions.threads.cleaning import force_clean
    from approvals.models import AuditText, Vote

    root = User.objects.get(username="root")
    if dice.random() < 0.5 and (text := AuditText.objects.filter(erased_at=None, name="comment").first()):
        erase_text(seq=text.seq, name=text.name, reason="asked for by the customer", by=root)
    elif vote := Vote.objects.filter(approval__thread__cleaned_at=None).first():
        force_clean(thread_id=vote.approval.thread_id, reason="stuck", by=root)


# --- signing


def sign() -> int:
    from approvals.actions.audit_log import signing

    return signing.sign()


def heads_of(folder: Path) -> list[str]:
    return [f"{part}\n" for part in (folder / "heads").read_text().replace("\n\n—", "\n@—").split("\n\n")[:-1]]


def test_a_log_is_signed_after_a_hundred_entries_or_a_minute_also_when_it_is_quiet(alias: str, folder: Path) -> None:
    from datetime import timedelta

    from django.db import connection

    from approvals.actions.audit_log import signing
    from approvals.models import SignedHead

    assert signing.sign_if_due() == 1  # the first time: the key is made
    audit_logs.grow(50, SEED)
    assert signing.sign_if_due() == 0
    audit_logs.grow(50, SEED)
    assert signing.sign_if_due() == 1
    assert signing.sign_if_due() == 0
    with connection.cursor() as cursor:  # a minute goes by
        cursor.execute("ALTER TABLE approvals_signedhead DISABLE TRIGGER USER")
        cursor.execute("UPDATE approvals_signedhead SET signed_at = signed_at - %s", [timedelta(seconds=61)])
    assert signing.sign_if_due() == 1
    newest, before = SignedHead.objects.order_by("-id")[:2]
    assert newest.size == before.size and "\nentry " not in newest.note
    assert verified().signed == newest.size


def test_a_burst_is_signed_in_notes_of_a_thousand(alias: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from approvals.actions.audit_log import signing
    from approvals.models import SignedHead

    monkeypatch.setattr(signing, "MOST_LISTED", 10)
    audit_logs.grow(34, SEED)
    sign()
    counts = [note.count("\nentry ") for note in SignedHead.objects.order_by("id").values_list("note", flat=True)]
    assert counts[:-1] == [10] * (len(counts) - 1) and sum(counts) == verified().signed


def test_two_that_sign_at_once_sign_one_after_the_other(alias: str, folder: Path) -> None:
    from django.db import connection

    from approvals.actions.audit_log import signing

    audit_logs.grow(5, SEED)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [signing.LOCK])
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(sign_elsewhere, alias).result() == 0
        cursor.execute("SELECT pg_advisory_unlock(%s)", [signing.LOCK])
    assert sign() == 1


def sign_elsewhere(alias: str) -> int:
    with audit_logs.use(alias):
        return sign()


@pytest.mark.parametrize("torn", ["", "127.0.0.1/countersign\n7\nAAAA", "half a line"])
def test_a_crash_between_file_and_copy_heals(
    alias: str, folder: Path, torn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from approvals.models import SignedHead

    sign()
    audit_logs.grow(5, SEED)
    crash = RuntimeError("the process died here")
    with monkeypatch.context() as patched:
        patched.setattr(SignedHead.objects, "create", lambda **_: (_ for _ in ()).throw(crash))
        with pytest.raises(RuntimeError):
            sign()
    with (folder / "heads").open("a") as file:
        file.write(torn)
    assert SignedHead.objects.count() == 1
    ahead = verified()
    assert sign() == 1
    assert SignedHead.objects.count() == 3
    assert ahead.signed == verified().signed
    assert (folder / "heads").stat().st_size == SignedHead.objects.latest("id").file_end


def test_a_log_that_is_broken_is_not_signed(alias: str, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    from django.db import connection

    from approvals import audit
    from approvals.models import AuditEntry

    audit_logs.grow(5, SEED)
    sign()
    audit.append("run.started", actor="alice")
    last = AuditEntry.objects.latest("seq").seq
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE approvals_auditentry DISABLE TRIGGER USER")
        cursor.execute(
            "UPDATE approvals_auditentry SET body = replace(body, '\"v\":1', '\"v\":2') WHERE seq = %s", [last]
        )
    assert (sign(), sign()) == (0, 0)
    assert [record.message for record in caplog.records if f"broken at entry {last}." in record.message]


def test_who_has_another_key_does_not_sign_and_says_so_once(
    alias: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from approvals.actions.audit_log import signing
    from approvals.models import SignedHead

    sign()
    signing._complain.cache_clear()
    with audit_logs.own_folder(tmp_path / "elsewhere"):
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "public_key").write_text((folder / "public_key").read_text())
        assert (sign(), sign()) == (0, 0)
        assert not (tmp_path / "elsewhere" / "key").exists()
    assert SignedHead.objects.count() == 1
    assert len([record for record in caplog.records if "Another machine has the key" in record.message]) == 1


def test_a_file_that_was_moved_away_is_written_again_and_that_is_an_entry(alias: str, folder: Path) -> None:
    from approvals.models import AuditEntry

    audit_logs.grow(5, SEED)
    sign()
    before = (folder / "heads").read_text()
    (folder / "heads").unlink()
    assert sign() == 1
    assert (folder / "heads").read_text().startswith(before)
    assert AuditEntry.objects.filter(action="audit.heads_copied").count() == 1
    assert verified().warnings == []


def test_a_file_of_another_log_is_never_gone_on_with(
    alias: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from approvals.models import SignedHead

    audit_logs.grow(5, SEED)
    sign()
    kept = {file.name: file.read_bytes() for file in folder.iterdir()}
    audit_logs.empty(folder)
    for name, content in kept.items():
        (folder / name).write_bytes(content)
    audit_logs.grow(20, SEED + 1)
    assert sign() == 0
    assert (folder / "heads").read_bytes() == kept["heads"]
    assert not SignedHead.objects.exists()


def test_a_new_key_goes_on_where_the_old_one_stopped(alias: str, folder: Path) -> None:
    from approvals.actions.audit_log import signing
    from approvals.models import AuditEntry

    audit_logs.grow(5, SEED)
    sign()
    old = (folder / "key").read_bytes()
    signing.change_key(reason="A laptop was lost.", actor="operator")
    audit_logs.grow(5, SEED)
    sign()
    assert len((folder / "public_key").read_text().splitlines()) == 2
    assert AuditEntry.objects.filter(action="audit.key_changed").count() == 1
    assert verified().signed == AuditEntry.objects.count()
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    (folder / "key").write_bytes(old)  # the old one signs no more
    assert sign() == 0


# --- erasing


def test_an_erased_comment_is_gone_everywhere_and_the_log_is_intact(alias: str, folder: Path) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.audit_log.texts import erase_text
    from approvals.models import AuditEntry, AuditText, Decision, Draft, Thread, Vote

    word = "the customer's illness"
    thread = Thread.objects.get(pk=audit_logs.decided(comment=word))
    Draft.objects.create(user=User.objects.get(username="bob"), thread=thread, comment=word)
    sign()
    [entry] = AuditEntry.objects.filter(thread_id=thread.pk, action="vote.cast")
    erase_text(seq=entry.seq, name="comment", reason="asked for", by=User.objects.get(username="root"))
    for model, field in ((AuditText, "text"), (Vote, "comment"), (Decision, "comment"), (Draft, "comment")):
        assert not model._default_manager.filter(**{f"{field}__contains": word}).exists(), model
    assert AuditText.objects.get(seq=entry.seq).salt == ""
    verified()


def test_who_is_no_admin_and_who_gives_no_reason_erases_nothing(alias: str, folder: Path) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.audit_log.texts import erase_text
    from approvals.errors import Denied, Gone, Invalid, NotFound
    from approvals.models import AuditEntry

    audit_logs.decided()
    seq = AuditEntry.objects.get(action="vote.cast").seq
    erin, root = (User.objects.get(username=name) for name in ("erin", "root"))
    for error, by, name, reason in (
        (Denied, erin, "comment", "because"),
        (Invalid, root, "comment", "  "),
        (NotFound, root, "reason", "because"),
    ):
        with pytest.raises(error):
            erase_text(seq=seq, name=name, reason=reason, by=by)
    erase_text(seq=seq, name="comment", reason="because", by=root)
    with pytest.raises(Gone):
        erase_text(seq=seq, name="comment", reason="because", by=root)


def test_a_comment_that_a_run_may_still_need_waits(alias: str, folder: Path) -> None:
    from django.contrib.auth.models import User

    from approvals.actions.audit_log.texts import erase_text
    from approvals.errors import Busy
    from approvals.models import AuditEntry, Run

    thread_id = audit_logs.decided()
    Run.objects.create(thread_id=thread_id, graph_id="refund", kind="resume", status="failed", started_by="alice")
    seq = AuditEntry.objects.get(action="vote.cast").seq
    with pytest.raises(Busy):
        erase_text(seq=seq, name="comment", reason="because", by=User.objects.get(username="root"))


def test_a_voter_who_was_renamed_is_no_alarm(alias: str, folder: Path) -> None:
    from django.contrib.auth.models import User

    audit_logs.decided()
    alice = User.objects.get(username="alice")
    alice.username = "alicia"
    alice.save()
    verified()
    alice.username = "alice"
    alice.save()
    verified()
