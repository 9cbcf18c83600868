"""Whoever owns the database changes the log, in every way we could think of: each is found, and the first entry named.

One base log, signed in several notes. Each change happens in a transaction of its own that is rolled back. The file of
signed heads is out of the attacker's reach but where a test says so.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import audit_logs
from tests.scale import crossed

SEED = 20261120
PLACES = (0, 1, 2)
"""The first, a middle and the last signed entry of a kind."""
TABLES = ("auditentry", "audittext", "signedhead", "audithead", "vote", "decision", "approval", "policyversion")


@dataclass(frozen=True)
class Base:
    """The log before anybody touched it: positions of the first, a middle and the last signed entry, of each kind."""

    last: int
    signed: int
    entries: list[int]
    texts: list[int]
    votes: list[int]
    decisions: list[int]
    notes: list[int]


@pytest.fixture(scope="module")
def base(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    from approvals import audit
    from approvals.actions.audit_log import signing
    from approvals.audit import notes
    from approvals.models import AuditEntry, SignedHead

    with audit_logs.own_database(database), audit_logs.own_folder(tmp_path_factory.mktemp("audit")):
        for part in range(5):
            audit_logs.grow(25, SEED + part)
            audit_logs.decided()
            audit.append("run.retried", actor="alice", texts={"reason": "It was the network."})
            signing.sign()
        for _ in range(3):
            signing.sign()  # a quiet minute
        signed = SignedHead.objects.latest("id").size
        audit_logs.grow(6, SEED)

        def three(action: str) -> list[int]:
            found = AuditEntry.objects.filter(seq__lte=signed, action=action).order_by("seq")
            seqs = [entry.seq for entry in found if entry.record["texts"] or action == "decision.reached"]
            return [seqs[0], seqs[len(seqs) // 2], seqs[-1]]

        heads = [notes.read_head(note) for note in SignedHead.objects.order_by("id").values_list("note", flat=True)]
        yield Base(
            last=AuditEntry.objects.latest("seq").seq,
            signed=signed,
            entries=[1, signed // 2, signed],
            texts=three("run.retried"),
            votes=three("vote.cast"),
            decisions=three("decision.reached"),
            notes=[head.first for head in heads],
        )


@contextmanager
def tampering() -> Iterator[Any]:
    """A cursor of whoever owns the database: no trigger, no constraint of ours; all of it is taken back."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE approvals_{table} DISABLE TRIGGER ALL")
        cursor.execute("ALTER TABLE approvals_auditentry DROP CONSTRAINT approvals_auditentry_pkey CASCADE")
        cursor.execute("ALTER TABLE approvals_auditentry DROP CONSTRAINT approvals_auditentry_hash_key")
        cursor.execute("ALTER TABLE approvals_auditentry DROP CONSTRAINT approvals_auditentry_prev_hash_key")
        yield cursor
        transaction.set_rollback(True)


def first_bad() -> int | None:
    from approvals import audit

    found = audit.verify()
    assert found.ok is (found.first_bad is None)
    assert found.ok or found.reason
    return found.first_bad


# --- what an attacker does to an entry


def columns(**changed: str) -> Callable[..., None]:
    """Change columns of the entry; the values are SQL."""
    setting = ", ".join(f"{name} = {value}" for name, value in changed.items())

    def change(cursor: Any, at: int) -> None:
        cursor.execute(f"UPDATE approvals_auditentry SET {setting} WHERE seq = %s", [at])
        assert cursor.rowcount == 1

    return change


def body(change: Callable[[str], str], *, rehash: str = "") -> Callable[..., None]:
    """Change the text of the body; make its hash anew, or those of the whole rest, as an attacker would."""

    def apply(cursor: Any, at: int) -> None:
        cursor.execute("SELECT body FROM approvals_auditentry WHERE seq = %s", [at])
        [before] = cursor.fetchone()
        assert change(before) != before
        cursor.execute("UPDATE approvals_auditentry SET body = %s WHERE seq = %s", [change(before), at])
        if rehash:
            rehashed(cursor, at, only=rehash == "one")

    return apply


def rehashed(cursor: Any, begin: int, *, only: bool = False) -> None:
    """Make the chain anew from `begin` on, head row included."""
    from approvals.audit import entry_hash

    cursor.execute("SELECT seq, prev_hash, body FROM approvals_auditentry WHERE seq >= %s ORDER BY seq", [begin])
    rows, prev_hash, digest = cursor.fetchall(), "", ""
    for seq, stored_prev, text in rows[:1] if only else rows:
        digest = entry_hash(seq, prev_hash or stored_prev, text)
        change = "UPDATE approvals_auditentry SET prev_hash = %s, hash = %s WHERE seq = %s"
        cursor.execute(change, [prev_hash or stored_prev, digest, seq])
        prev_hash = digest
    if not only:
        cursor.execute("UPDATE approvals_audithead SET hash = %s, seq = %s", [digest, rows[-1][0]])


def another_actor(text: str) -> str:
    told = json.loads(text)
    return json.dumps({**told, "actor": "mallory"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def in_other_order(text: str) -> str:
    return json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":"), ensure_ascii=False)


def deleted(cursor: Any, begin: int, count: int = 1) -> None:
    cursor.execute("DELETE FROM approvals_auditentry WHERE seq >= %s AND seq < %s", [begin, begin + count])


def deleted_with_tail(cursor: Any, at: int) -> None:
    """The log ends before the entry, and its head row says so."""
    deleted(cursor, at, 10**6)
    cursor.execute(
        "UPDATE approvals_audithead SET seq = %s, hash = coalesce("
        "(SELECT hash FROM approvals_auditentry WHERE seq = %s), repeat('0', 64))",
        [at - 1, at - 1],
    )


def deleted_without_a_gap(cursor: Any, at: int) -> None:
    deleted(cursor, at)
    renumbered(cursor, at + 1, by=-1)
    rehashed(cursor, at)


def renumbered(cursor: Any, begin: int, *, by: int) -> None:
    numbers = ['"seq":', '"seq":', by, begin]
    bodies = "body = replace(body, %s || seq, %s || (seq + shift))"
    cursor.execute(
        f"UPDATE approvals_auditentry SET seq = seq + shift, {bodies} FROM (SELECT %s AS shift) AS by WHERE seq >= %s",
        numbers,
    )


def inserted(cursor: Any, at: int, *, rehash: bool) -> None:
    """A copy of the entry with another person is put before it; those after it move on by one."""
    cursor.execute("SELECT * FROM approvals_auditentry WHERE seq = %s", [at])
    [row] = cursor.fetchall()
    renumbered(cursor, at, by=1)
    cursor.execute(f"INSERT INTO approvals_auditentry VALUES ({', '.join(['%s'] * len(row))})", row)
    columns(actor="'mallory'")(cursor, at)
    if rehash:
        body(another_actor)(cursor, at)
        rehashed(cursor, at)


def swapped(cursor: Any, at: int) -> None:
    other = at + 1
    cursor.execute("UPDATE approvals_auditentry SET seq = %s + %s - seq WHERE seq IN (%s, %s)", [at, other, at, other])


def bodies_swapped(cursor: Any, at: int) -> None:
    cursor.execute(
        "UPDATE approvals_auditentry AS one SET body = other.body FROM approvals_auditentry AS other"
        " WHERE one.seq IN (%s, %s) AND other.seq = %s + %s - one.seq",
        [at, at + 1, at, at + 1],
    )


def doubled(cursor: Any, at: int) -> None:
    cursor.execute("INSERT INTO approvals_auditentry SELECT * FROM approvals_auditentry WHERE seq = %s", [at])


def moved_to_the_end(cursor: Any, at: int) -> None:
    end = "(SELECT max(seq) + 1 FROM approvals_auditentry)"
    cursor.execute(f"UPDATE approvals_auditentry SET seq = {end} WHERE seq = %s", [at])


def from_another_log(cursor: Any, at: int) -> None:
    """From here on the entries are those of a log that is whole in itself."""
    body(another_actor)(cursor, at)
    cursor.execute("UPDATE approvals_auditentry SET prev_hash = md5(prev_hash) || md5(hash) WHERE seq = %s", [at])
    rehashed(cursor, at)


def table_replaced_by_a_copy(cursor: Any, at: int) -> None:
    cursor.execute("CREATE TABLE copied AS SELECT * FROM approvals_auditentry")
    cursor.execute("ALTER TABLE approvals_auditentry RENAME TO before")
    cursor.execute("ALTER TABLE copied RENAME TO approvals_auditentry")
    body(another_actor, rehash="rest")(cursor, at)


def rehashed_and_signed_by_another_key(cursor: Any, at: int) -> None:
    body(another_actor, rehash="rest")(cursor, at)
    forged_heads(cursor)


def rehashed_and_heads_emptied(cursor: Any, at: int) -> None:
    body(another_actor, rehash="rest")(cursor, at)
    cursor.execute("DELETE FROM approvals_signedhead")


def deleted_everything_after_and_their_heads(cursor: Any, at: int) -> None:
    deleted_with_tail(cursor, at)
    cursor.execute("DELETE FROM approvals_signedhead WHERE size >= %s", [at])


def every_entry_after_rewritten(cursor: Any, at: int) -> None:
    cursor.execute("UPDATE approvals_auditentry SET body = replace(body, 'alice', 'bob') WHERE seq > %s", [at])
    cursor.execute("UPDATE approvals_auditentry SET actor = 'bob' WHERE seq > %s AND actor = 'alice'", [at])
    body(another_actor)(cursor, at)
    columns(actor="'mallory'")(cursor, at)
    rehashed(cursor, 1)


ENTRY = {
    # The columns.
    "its time": columns(at="at + interval '1 second'"),
    "its clock set back an hour": columns(at="at - interval '1 hour'"),
    "who": columns(actor="'mallory'"),
    "what": columns(action="'run.held'"),
    "which thread": columns(thread_id="thread_id || '2'"),
    "number, to zero": columns(seq="0"),
    "number, to below zero": columns(seq="-seq"),
    # The body, byte by byte.
    "who, in the body": body(another_actor),
    "a space in the body": body(lambda text: text.replace(":", ": ", 1)),
    "a line end after the body": body(lambda text: text + "\n"),
    "the order of keys": body(in_other_order),
    "a letter written as an escape": body(lambda text: text.replace('"action"', '"\\u0061ction"')),
    "another form of Unicode": body(lambda text: text.replace('"outcome":"ok"', '"outcome":"o\u212a"')),
    "another form of a number": body(lambda text: text.replace('"v":1', '"v":1.0')),
    "one key twice": body(lambda text: text[:-1] + ',"v":1}'),
    "a key more": body(lambda text: text[:-1] + ',"z":1}'),
    "an empty body": body(lambda text: ""),
    "a body that is no JSON": body(lambda text: text[:-1]),
    "a body that is a list": body(lambda text: f"[{text}]", rehash="rest"),
    "the number in the body": body(lambda text: text.replace('"seq":', '"seq":1'), rehash="rest"),
    # The hashes.
    "its hash": columns(hash="md5(hash) || md5(prev_hash)"),
    "its hash in capitals": columns(hash="upper(hash) || ''"),
    "its hash cut": columns(hash="left(hash, 63)"),
    "the hash before it": columns(prev_hash="md5(hash) || md5(prev_hash)"),
    "both hashes swapped": columns(hash="prev_hash", prev_hash="hash"),
    # Hashes made anew.
    "a body, and its hash made anew": body(another_actor, rehash="one"),
    "a body, and all hashes after it": body(another_actor, rehash="rest"),
    "a space, and all hashes after it": body(lambda text: text.replace(":", ": ", 1), rehash="rest"),
    "all after it rewritten, all hashes anew": every_entry_after_rewritten,
    "the rest of another log": from_another_log,
    "all after it, heads signed by another key": rehashed_and_signed_by_another_key,
    "all after it, heads thrown away": rehashed_and_heads_emptied,
    # Entries that go, come or move.
    "it was deleted": deleted,
    "a range was deleted": lambda cursor, at: deleted(cursor, at, 4),
    "all from it on were deleted": lambda cursor, at: deleted(cursor, at, 10**6),
    "all from it on were deleted, head set back": deleted_with_tail,
    "all from it on were deleted, with their heads": deleted_everything_after_and_their_heads,
    "it was deleted and the rest renumbered and hashed": deleted_without_a_gap,
    "one was put before it": lambda cursor, at: inserted(cursor, at, rehash=False),
    "one was put before it, and all hashed": lambda cursor, at: inserted(cursor, at, rehash=True),
    "it was swapped with the next": swapped,
    "its body was swapped with the next": bodies_swapped,
    "it is there twice": doubled,
    "it was moved to the end": moved_to_the_end,
    "the table was replaced by a copy": table_replaced_by_a_copy,
}
NAMES_OTHER = {"number, to zero": lambda at: 0, "number, to below zero": lambda at: -at}


@pytest.mark.parametrize(("change", "where"), crossed(ENTRY, PLACES), ids=str)
def test_a_changed_entry_is_found_and_named(base: Base, change: str, where: int) -> None:
    at = base.entries[where]
    with tampering() as cursor:
        ENTRY[change](cursor, at)
        assert first_bad() == NAMES_OTHER.get(change, lambda at: at)(at)


# --- the head row


HEAD: dict[str, tuple[str, Callable[[Base], int]]] = {
    "its hash": ("UPDATE approvals_audithead SET hash = repeat('a', 64)", lambda base: base.last),
    "ahead": ("UPDATE approvals_audithead SET seq = seq + 1", lambda base: base.last + 1),
    "set back": ("UPDATE approvals_audithead SET seq = seq - 3", lambda base: base.last - 2),
    "deleted": ("DELETE FROM approvals_audithead", lambda base: base.last + 1),
    "set back with its hash": (
        "UPDATE approvals_audithead SET seq = 7, hash = (SELECT hash FROM approvals_auditentry WHERE seq = 7)",
        lambda base: 8,
    ),
    "to the beginning": ("UPDATE approvals_audithead SET seq = 0, hash = repeat('0', 64)", lambda base: 1),
}


@pytest.mark.parametrize("change", HEAD)
def test_a_changed_head_row_is_found(base: Base, change: str) -> None:
    statement, named = HEAD[change]
    with tampering() as cursor:
        cursor.execute(statement)
        assert first_bad() == named(base)


# --- the signed heads in the database


def forged_heads(cursor: Any) -> None:
    """Sign the log as it stands with a key of one's own, each head as big as the one that was there."""
    from approvals.audit import notes

    key, before = notes.Key("forged", Ed25519PrivateKey.generate()), notes.NONE
    cursor.execute("SELECT hash FROM approvals_auditentry ORDER BY seq")
    hashes = [found for (found,) in cursor.fetchall()]
    cursor.execute("SELECT id, note FROM approvals_signedhead ORDER BY id")
    for pk, note in cursor.fetchall():
        head = notes.read_head(note)
        listed = tuple(hashes[head.size - len(head.hashes) : head.size])
        root, key = hashes[head.size - 1], notes.Key(head.origin, key.private)
        forged = key.sign(notes.Note(head.origin, head.size, root, before, head.at, listed).text)
        cursor.execute("UPDATE approvals_signedhead SET note = %s WHERE id = %s", [forged, pk])
        before = notes.digest(forged)


def heads(statement: str) -> Callable[..., None]:
    def change(cursor: Any, nth: int) -> None:
        cursor.execute(statement, {"nth": nth})
        assert cursor.rowcount > 0

    return change


NTH = "(SELECT id FROM approvals_signedhead ORDER BY id OFFSET %(nth)s LIMIT 1)"
HEADS = {
    "a size": heads(
        f"UPDATE approvals_signedhead SET note = regexp_replace(note, '\n[0-9]+\n', '\n1\n') WHERE id = {NTH}"
    ),  # fmt: skip
    "a hash that it lists": heads(
        f"UPDATE approvals_signedhead SET note = regexp_replace(note, '(entry [0-9]+ ).', '\\1x') WHERE id = {NTH}"
    ),  # fmt: skip
    "its time": heads(f"UPDATE approvals_signedhead SET note = replace(note, 'time 20', 'time 19') WHERE id = {NTH}"),
    "its signature": heads(f"UPDATE approvals_signedhead SET note = reverse(note) WHERE id = {NTH}"),
    "it is empty": heads(f"UPDATE approvals_signedhead SET note = '' WHERE id = {NTH}"),
    "it is gone": heads(f"DELETE FROM approvals_signedhead WHERE id = {NTH}"),
    "it and all after it are gone": heads(f"DELETE FROM approvals_signedhead WHERE id >= {NTH}"),
}


# The first, one between, the last that lists entries; two of quiet minutes, which list none.
CHANGED_HEADS = [
    (name, nth) for name, nth in crossed(HEADS, (0, 2, 4, 5, 6)) if nth < 5 or name != "a hash that it lists"
]


@pytest.mark.parametrize(("change", "nth"), CHANGED_HEADS)
def test_a_changed_copy_of_a_signed_head_is_found(base: Base, change: str, nth: int) -> None:
    with tampering() as cursor:
        HEADS[change](cursor, nth)
        assert first_bad() == base.notes[nth]


def test_heads_of_another_key_are_found_at_the_first(base: Base) -> None:
    with tampering() as cursor:
        forged_heads(cursor)
        assert first_bad() == 1


# --- the texts beside the entries


def text(statement: str) -> Callable[..., None]:
    def change(cursor: Any, at: int) -> None:
        cursor.execute(f"{statement} WHERE seq = %s", [at])
        assert cursor.rowcount == 1

    return change


TEXTS = {
    "the text": text("UPDATE approvals_audittext SET text = text || '!'"),
    "the salt": text("UPDATE approvals_audittext SET salt = md5(salt) || md5(text)"),
    "a letter of the salt moved to the text, so that the digest fits": text(
        "UPDATE approvals_audittext SET salt = left(salt, 63), text = right(salt, 1) || text"
    ),
    "its name": text("UPDATE approvals_audittext SET name = 'other'"),
    "it was deleted": text("DELETE FROM approvals_audittext"),
    "it was blanked, and nobody told": text("UPDATE approvals_audittext SET text = '', salt = '', erased_at = now()"),
    "one was added": text(
        "INSERT INTO approvals_audittext (seq, name, salt, text, erased_by)"
        " SELECT seq, 'other', '', '', '' FROM approvals_auditentry"
    ),
}


@pytest.mark.parametrize(("change", "where"), crossed(TEXTS, PLACES), ids=str)
def test_a_changed_text_is_found(base: Base, change: str, where: int) -> None:
    with tampering() as cursor:
        TEXTS[change](cursor, base.texts[where])
        assert first_bad() == base.texts[where]


def test_a_text_of_no_entry_is_found(base: Base) -> None:
    with tampering() as cursor:
        cursor.execute(
            "INSERT INTO approvals_audittext (seq, name, salt, text, erased_by) VALUES (%s, 'comment', '', 'x', '')",
            [base.last + 7],
        )
        assert first_bad() == base.last + 7


# --- votes and decisions


def row(table: str, setting: str) -> Callable[..., None]:
    def change(cursor: Any, at: int) -> None:
        pk = f"(SELECT (body::jsonb #>> '{{object,{table}}}')::uuid FROM approvals_auditentry WHERE seq = %s)"
        statement = f"UPDATE approvals_{table} SET {setting}" if setting else f"DELETE FROM approvals_{table}"
        cursor.execute(f"{statement} WHERE id = {pk}", [at])
        assert cursor.rowcount == 1

    return change


BOB = "(SELECT id FROM auth_user WHERE username = 'bob')"
VOTES = {
    "the verdict": "verdict = 'skip'",
    "what was seen": "seen_digest = repeat('1', 64)",
    "the edit": "edits = '{\"amount\":8000}'",
    "the answer": "answer = '\"yes\"'",
    "the node": "as_node = 'pay'",
    "the comment": "comment = 'I was told to'",
    "no comment any more": "comment = ''",
    "the voter": f"voter_id = {BOB}",
    "which approval": "approval_id = gen_random_uuid()",
    "it is gone": "",
}
DECISIONS = {
    "the verdict": "verdict = 'skip'",
    "the edit": "edits = '{\"amount\":8000}'",
    "the answer": "answer = '\"yes\"'",
    "the node": "as_node = 'pay'",
    "the comment": "comment = 'I was told to'",
    "by whom": "decided_by = 'bob'",
    "its digest": "answer_digest = repeat('1', 64)",
    "which approval": "approval_id = gen_random_uuid()",
    "it is gone": "",
}


@pytest.mark.parametrize(("change", "where"), crossed(VOTES, PLACES), ids=str)
def test_a_changed_vote_is_found_at_its_entry(base: Base, change: str, where: int) -> None:
    with tampering() as cursor:
        row("vote", VOTES[change])(cursor, base.votes[where])
        assert first_bad() == base.votes[where]


@pytest.mark.parametrize(("change", "where"), crossed(DECISIONS, PLACES), ids=str)
def test_a_changed_decision_is_found_at_its_entry(base: Base, change: str, where: int) -> None:
    with tampering() as cursor:
        row("decision", DECISIONS[change])(cursor, base.decisions[where])
        assert first_bad() == base.decisions[where]


@pytest.mark.parametrize("table", ["vote", "decision"])
def test_a_row_that_no_entry_tells_of_is_found(base: Base, table: str) -> None:
    with tampering() as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE added ON COMMIT DROP AS SELECT * FROM approvals_{table} LIMIT 1")
        other = "ended_at = now()" if table == "vote" else "approval_id = gen_random_uuid(), vote_id = NULL"
        cursor.execute(f"UPDATE added SET id = gen_random_uuid(), {other}")
        cursor.execute(f"INSERT INTO approvals_{table} SELECT * FROM added")
        assert first_bad() == base.last + 1


# --- what nobody signed yet: only the chain speaks, and names as exactly as it can


def test_an_unsigned_entry_hashed_anew_is_named_by_what_follows_it(base: Base) -> None:
    with tampering() as cursor:
        columns(actor="'mallory'")(cursor, base.signed + 2)
        body(another_actor, rehash="one")(cursor, base.signed + 2)
        assert first_bad() == base.signed + 2


def test_a_log_made_anew_after_the_last_signed_head_is_not_found(base: Base) -> None:
    """The limit of it: a minute, or a hundred entries."""
    with tampering() as cursor:
        columns(actor="'mallory'")(cursor, base.signed + 1)
        body(another_actor, rehash="rest")(cursor, base.signed + 1)
        assert first_bad() in (None, base.signed + 1)
        from approvals import audit

        assert audit.verify().signed <= base.signed


# --- the file outside is attacked as well


@pytest.fixture
def attacked_file(base: Base, tmp_path: Path) -> Iterator[Path]:
    from django.conf import settings

    shutil.copytree(settings.AUDIT_DIR, tmp_path / "audit")
    with audit_logs.own_folder(tmp_path / "audit") as folder:
        yield folder / "heads"


def lines_of(file: Path) -> list[str]:
    return file.read_text().splitlines(keepends=True)


@pytest.mark.parametrize(("line", "change"), crossed([0, 1, 2, 3, 4, 5, 20], ["removed", "edited"]))
def test_a_changed_line_of_the_file_is_found(attacked_file: Path, change: str, line: int) -> None:
    lines = lines_of(attacked_file)
    lines[line : line + 1] = [] if change == "removed" else ["x" + lines[line]]
    attacked_file.write_text("".join(lines))
    assert first_bad() == 1


def test_a_head_taken_out_of_the_file_is_found(base: Base, attacked_file: Path) -> None:
    notes = attacked_file.read_text().split("\n\n")
    attacked_file.write_text("\n\n".join(notes[:2] + notes[4:]))
    assert first_bad() == base.notes[1]


def test_a_file_that_was_cut_is_told_and_the_copies_still_speak(attacked_file: Path) -> None:
    from approvals import audit

    notes = attacked_file.read_text().split("\n\n")
    attacked_file.write_text("\n\n".join(notes[:4]) + "\n\n")
    found = audit.verify()
    assert found.ok
    assert found.warnings == ["The file of signed heads ends before their copies in the database do."]


# One that is gone is found by the next, which names it.
WITHOUT_FILE = [each for each in CHANGED_HEADS if "gone" not in each[0]]


@pytest.mark.parametrize(("change", "nth"), [*WITHOUT_FILE, ("it is gone", 5)])
def test_a_changed_head_is_found_by_its_signature_where_there_is_no_file(
    base: Base, attacked_file: Path, change: str, nth: int
) -> None:
    attacked_file.unlink()
    with tampering() as cursor:
        HEADS[change](cursor, nth)
        assert first_bad() in {base.notes[nth], base.notes[nth] + 1}


def test_a_head_that_contradicts_itself_is_found_though_it_is_signed(base: Base, attacked_file: Path) -> None:
    from approvals import audit
    from approvals.audit import folder, notes

    key, last = folder.private_key(), list(folder.iter_heads())[-1].note
    assert key
    wrong = replace(notes.read_head(last), previous=notes.digest(last), root="a" * 64)
    folder.append_note(key.sign(wrong.text))
    assert (first_bad(), audit.verify().reason) == (base.signed, "A signed head contradicts itself.")


def test_a_key_that_was_replaced_signs_no_more(base: Base, attacked_file: Path) -> None:
    from approvals import audit
    from approvals.audit import folder, notes

    note = attacked_file.read_text().split("\n\n")
    old, new = folder.private_key(), notes.Key("127.0.0.1/countersign", Ed25519PrivateKey.generate())
    head = notes.read_head(next(reversed(list(folder.iter_heads()))).note)
    assert old and note
    for key in (new, old):
        last = list(folder.iter_heads())[-1].note
        folder.append_note(key.sign(replace(head, previous=notes.digest(last), hashes=()).text))
        with (attacked_file.parent / "public_key").open("a") as file:
            file.write(f"{new.public}\n" if key is new else "")
        attacked = audit.verify()
    assert "a key that had been replaced" in attacked.reason


def test_a_file_that_is_gone_is_told_and_tampering_is_still_found(base: Base, attacked_file: Path) -> None:
    from approvals import audit

    attacked_file.unlink()
    found = audit.verify()
    assert (found.ok, "no file of signed heads" in found.warnings[0]) == (True, True)
    with tampering() as cursor:
        body(another_actor, rehash="rest")(cursor, 9)
        assert first_bad() == 9
        forged_heads(cursor)
        assert first_bad() == 1


def test_a_log_set_back_together_with_the_file_is_found_by_a_copy_of_the_file_alone(
    base: Base, attacked_file: Path
) -> None:
    """The limit of it: keep a copy of the file where the database's owner cannot write."""
    whole, cut = attacked_file.read_text(), base.notes[2]
    attacked_file.write_text("\n\n".join(whole.split("\n\n")[:4]) + "\n\n")
    with tampering() as cursor:
        for table in ("vote", "decision"):  # of the entries that go
            kept = f"(SELECT body::jsonb #>> '{{object,{table}}}' FROM approvals_auditentry WHERE seq < %s)"
            gone = f"NOT EXISTS (SELECT 1 FROM {kept} AS kept (id) WHERE kept.id = gone.id::text)"
            cursor.execute(f"DELETE FROM approvals_{table} AS gone WHERE {gone}", [cut])
        told = "SELECT 1 FROM approvals_auditentry WHERE seq < %s AND about = 'approval:' || gone.id"
        cursor.execute(f"DELETE FROM approvals_approval AS gone WHERE NOT EXISTS ({told})", [cut])
        cursor.execute("DELETE FROM approvals_audittext WHERE seq >= %s", [cut])
        deleted_everything_after_and_their_heads(cursor, cut)
        assert first_bad() is None
        attacked_file.write_text(whole)
        assert first_bad() == cut


def test_without_its_public_key_nothing_is_called_intact(attacked_file: Path) -> None:
    from approvals import audit

    (attacked_file.parent / "public_key").unlink()
    with pytest.raises(audit.CannotCheck, match="no public key"):
        audit.verify()
