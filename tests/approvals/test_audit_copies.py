"""Exports and receipts: taken with the console, checked on a machine that has no database."""

import base64
import csv
import io
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import audit_logs, forks
from tests.console import Console, wait_for

pytestmark = pytest.mark.slow

SEED = 99
EXAMPLE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"


@pytest.fixture(scope="module")
def taken(database: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole export, a part of one, a table for people, and the public key."""
    from approvals.actions.audit_log import signing
    from approvals.actions.audit_log.exports import export
    from approvals.audit.filters import Filters

    folder = tmp_path_factory.mktemp("taken")
    with audit_logs.own_database(database), audit_logs.own_folder(tmp_path_factory.mktemp("audit")) as kept:
        for part in range(3):
            audit_logs.grow(30, SEED + part)
            audit_logs.decided(comment="=1+1")
            signing.sign()
        audit_logs.grow(5, SEED)
        for name, format, filters in (
            ("whole.jsonl", "jsonl", Filters()),
            ("part.jsonl", "jsonl", Filters(actor="alice")),
            ("table.csv", "csv", Filters()),
        ):
            with (folder / name).open("w", newline="\n") as out:
                export(out, format=format, filters=filters, by="erin", kind="person")
        (folder / "public_key").write_text((kept / "public_key").read_text())
    return folder


def verify(*options: str | Path, key: Path | None = None) -> tuple[int, str, str]:
    """Run the command; return its exit code and what it wrote."""
    from django.core.management import call_command

    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(SystemExit) as done:
        call_command("verify_audit_log", *map(str, options), **_with(key), stdout=out, stderr=err)
    return int(str(done.value.code)), out.getvalue(), err.getvalue()


def _with(key: Path | None) -> dict[str, Any]:
    return {"public_key": key} if key else {}


def verify_nowhere(*options: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command on a machine that reaches no database and has no key."""
    env = {**os.environ, "DATABASE_URL": NOWHERE, "AUDIT_DIR": "/nonexistent", "REDIS_URL": ""}
    return forks.run(["manage.py", "verify_audit_log", *map(str, options)], env=env)


def test_a_whole_export_is_verified_with_no_database(taken: Path) -> None:
    done = verify_nowhere("--export", taken / "whole.jsonl", "--json", "--public-key", taken / "public_key")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["ok"], found["first_bad"]) == (True, None)
    assert 90 < found["signed"] < found["entries"]


def test_without_a_database_nothing_is_called_intact(taken: Path) -> None:
    done = verify_nowhere()
    assert (done.returncode, done.stdout, "does not answer" in done.stderr) == (2, "", True), done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--export", "part.jsonl"), "a part of the log"),
        (("--export", "table.csv"), "not a whole export"),
        (("--export", "nothing.jsonl"), "No such file"),
        (("--receipt", "whole.jsonl"), "not a receipt"),
    ],
)
def test_what_cannot_be_checked_is_neither_intact_nor_broken(taken: Path, options: tuple[str, str], told: str) -> None:
    code, out, err = verify(options[0], taken / options[1], key=taken / "public_key")
    assert (code, out, told in err) == (2, "", True), err


def test_without_a_key_nothing_is_called_intact(taken: Path, tmp_path: Path) -> None:
    with audit_logs.own_folder(tmp_path):
        code, out, err = verify("--export", taken / "whole.jsonl")
        assert (code, out, "no public key" in err) == (2, "", True), err
    code, out, err = verify("--export", taken / "whole.jsonl", key=tmp_path / "none")
    assert (code, out, "no public key" in err) == (2, "", True), err


def changed(taken: Path, tmp_path: Path, change: Any) -> Any:
    """Return what is found in the export after a change to its lines."""
    from approvals.audit.export import verify_export
    from approvals.audit.folder import public_keys

    lines = [json.loads(line) for line in (taken / "whole.jsonl").read_text().splitlines()]
    lines = change(lines) or lines
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (tmp_path / "changed.jsonl").write_text(text)
    return verify_export(tmp_path / "changed.jsonl", public_keys(taken / "public_key"))


def nth(lines: list[dict[str, Any]], kind: str, number: int) -> dict[str, Any]:
    return [line for line in lines if line["kind"] == kind][number]


def rehash_from(lines: list[dict[str, Any]], begin: int) -> None:
    from approvals.audit import entry_hash

    prev_hash = ""
    for line in lines:
        if line["kind"] == "entry" and line["seq"] >= begin:
            line["prev_hash"] = prev_hash or line["prev_hash"]
            prev_hash = line["hash"] = entry_hash(line["seq"], line["prev_hash"], line["body"])
    lines[0]["end"][1] = prev_hash


@pytest.mark.parametrize("at", [1, 40, 90])
def test_a_changed_export_is_found_and_its_entry_named(database: str, taken: Path, tmp_path: Path, at: int) -> None:
    def another_body(lines: list[dict[str, Any]]) -> None:
        line = nth(lines, "entry", at - 1)
        line["body"] = line["body"].replace('"outcome":"ok"', '"outcome":"no"')

    def rehashed(lines: list[dict[str, Any]]) -> None:
        another_body(lines)
        rehash_from(lines, at)

    def without_it(lines: list[dict[str, Any]]) -> None:
        lines.remove(nth(lines, "entry", at - 1))

    def cut(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lines[0]["end"] = [at - 1, nth(lines, "entry", at - 1)["prev_hash"]]
        return [line for line in lines if line.get("seq", 0) < at]

    for change in (another_body, rehashed, without_it, cut):
        assert changed(taken, tmp_path, change).first_bad == at, change


def test_a_changed_text_or_head_of_an_export_is_found(database: str, taken: Path, tmp_path: Path) -> None:
    def text(lines: list[dict[str, Any]]) -> None:
        nth(lines, "text", 2)["text"] += "!"

    def head(lines: list[dict[str, Any]]) -> None:
        line = nth(lines, "head", 1)
        line["note"] = line["note"].replace("time 20", "time 19")

    lines = [json.loads(line) for line in (taken / "whole.jsonl").read_text().splitlines()]
    assert changed(taken, tmp_path, text).first_bad == nth(lines, "text", 2)["seq"]
    assert changed(taken, tmp_path, head).first_bad == int(nth(lines, "head", 0)["note"].split("\n")[1]) + 1


def test_an_export_that_was_cut_off_cannot_be_checked(database: str, taken: Path, tmp_path: Path) -> None:
    from approvals import audit

    with pytest.raises(audit.CannotCheck, match="cut off"):
        changed(taken, tmp_path, lambda lines: lines[:-1])


def test_a_table_runs_no_formula(taken: Path) -> None:
    from approvals.audit.export import _cell

    rows = list(csv.DictReader((taken / "table.csv").read_text().splitlines()))
    assert len(rows) > 90 and rows[0]["seq"] == "1" and len(rows[0]["hash"]) == 64
    assert [_cell(text)[0] for text in ("=1+1", "+1", "-1", "@sum", "\tx", "\rx", "\nx")] == ["'"] * 7
    assert _cell("1+1") == "1+1"


def test_the_notes_are_those_of_other_programs(database: str) -> None:
    """A key and a signature that others publish as an example of the form."""
    from approvals.audit.notes import parse_key

    key = parse_key(EXAMPLE)
    line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    signed = base64.b64decode(line)
    assert signed[:4] == key.id
    assert key.verifies("This is an example message.\n", signed[4:])
    assert not key.verifies("This is an example message!\n", signed[4:])


@pytest.mark.parametrize("line", ["", "x", "name+00000000+AAAA", EXAMPLE.replace("903a", "903b")])
def test_what_is_no_public_key_is_refused(database: str, line: str) -> None:
    from approvals.audit.notes import BadKey, parse_key

    with pytest.raises(BadKey):
        parse_key(line)


# --- with the console


@pytest.fixture(scope="module")
def decided(console: Console) -> dict[str, Any]:
    approval = console.pause("gated", {"text": "a receipt"})
    with console.api("bob") as bob:
        ballot = {"verdict": "approve", "seen_digest": approval["digest"], "comment": "seen"}
        bob.post(f"/approvals/{approval['id']}/votes", json=ballot).raise_for_status()
    console.run_of(approval["id"])
    return approval


def signed_receipt(console: Console, approval_id: str) -> dict[str, Any]:
    """Sign now instead of waiting for the minute."""
    from approvals.actions.audit_log import signing

    with console.api("alice") as alice:

        def ask() -> dict[str, Any] | None:
            signing.sign()
            told = dict(alice.get(f"/approvals/{approval_id}/receipt").json())
            return None if told["pending"] else told

        return wait_for(ask, what="the receipt to be signed")


def test_a_reviewer_takes_a_receipt_that_anyone_can_check(
    console: Console, decided: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    told = signed_receipt(console, decided["id"])
    bodies = [json.loads(entry["body"]) for entry in told["entries"]]
    assert [(body["action"], body["actor"]) for body in bodies] == [("vote.cast", "bob"), ("decision.reached", "bob")]
    assert bodies[0]["digests"]["seen"] == decided["digest"]
    file, key = tmp_path / "receipt.json", data_dir / "audit" / "public_key"
    file.write_text(json.dumps(told))
    code, out, err = verify("--receipt", file, key=key)
    assert (code, out.count("Valid: ")) == (0, 2), err
    file.write_text(json.dumps(told).replace('\\"verdict\\":\\"approve\\"', '\\"verdict\\":\\"reject\\"'))
    code, out, _ = verify("--receipt", file, key=key)
    assert (code, out.startswith("NOT VALID at entry")) == (1, True)


def test_a_receipt_with_an_entry_of_another_approval_or_another_key_is_not_valid(
    database: str, console: Console, decided: dict[str, Any], data_dir: Path, tmp_path: Path
) -> None:
    from approvals import audit
    from approvals.audit.folder import public_keys
    from approvals.audit.receipts import check_receipt
    from approvals.audit.walk import Broken

    keys, file = public_keys(data_dir / "audit" / "public_key"), tmp_path / "receipt.json"
    told = signed_receipt(console, decided["id"])
    [first, second] = told["entries"]
    for wrong in (
        {**told, "approval": "00000000-0000-0000-0000-000000000000"},
        {**told, "entries": [{**first, "seq": first["seq"] + 1}, second]},
        {**told, "entries": [{**first, "note": first["note"].replace("entry", "entrx")}]},
        {**told, "entries": [{**first, "hash": second["hash"]}]},
    ):
        file.write_text(json.dumps(wrong))
        with pytest.raises(Broken):
            check_receipt(file, keys)
    file.write_text(json.dumps({**told, "entries": [{**first, "note": None}]}))
    with pytest.raises(audit.CannotCheck, match="not signed yet"):
        check_receipt(file, keys)


def test_an_auditor_downloads_the_log_and_that_is_an_entry(console: Console, decided: dict[str, Any]) -> None:
    with console.api("erin") as erin:
        asked = {"format": "jsonl", "thread_id": decided["thread_id"]}
        answer = erin.get("/audit/export", params=asked)
        table = erin.get("/audit/export", params={**asked, "format": "csv", "action": "vote.cast"})
        [newest, before] = erin.get("/audit", params={"action": "audit.exported", "limit": 2}).json()["items"]
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["kind"] for line in lines[:2]] == ["export", "entry"]
    assert lines[-1] == {"kind": "end", "entries": len(lines) - 2, "texts": 0, "heads": 0}
    assert "attachment" in answer.headers["content-disposition"]
    assert [row["actor"] for row in csv.DictReader(table.text.splitlines())] == ["bob"]
    assert before["object"] == {
        "entries": len(lines) - 2,
        "format": "jsonl",
        "filters": {"thread_id": decided["thread_id"]},
    }
    assert newest["actor"] == "erin"


def test_the_log_is_cut_by_approval_and_by_policy(console: Console, decided: dict[str, Any]) -> None:
    with console.api("erin") as erin:
        found = erin.get("/audit", params={"approval": decided["id"]}).json()["items"]
        [cast] = [entry for entry in found if entry["action"] == "vote.cast"]
        asked = {"approval": decided["id"], "policy": cast["policy_version"] or "none"}
        same = erin.get("/audit", params=asked).json()["items"]
    assert {"thread.paused", "vote.cast", "decision.reached"} >= {entry["action"] for entry in found}
    assert cast["policy_version"] and cast["seq"] in [entry["seq"] for entry in same]


def test_the_command_writes_a_whole_file_or_none(console: Console, tmp_path: Path, data_dir: Path) -> None:
    from django.core.management import CommandError, call_command

    call_command("export_audit_log", output=tmp_path / "log.jsonl", stdout=io.StringIO())
    code, out, err = verify("--export", tmp_path / "log.jsonl", key=data_dir / "audit" / "public_key")
    assert (code, out.startswith("Intact")) == (0, True), out + err
    with pytest.raises(CommandError, match="Cannot write"):
        call_command("export_audit_log", output=tmp_path / "no" / "log.jsonl")
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]


def test_the_command_writes_to_standard_output(console: Console) -> None:
    told = console.manage("export_audit_log", "--format", "csv").stdout
    assert told.startswith("seq,at,actor,") and told.count("\n") > 3


def test_a_new_key_needs_a_reason(database: str) -> None:
    from django.core.management import CommandError, call_command

    with pytest.raises(CommandError, match="--reason"):
        call_command("sign_audit_log", new_key=True)


def shortened(folder: Path, taken: Path, *, by: int) -> Path:
    """An export that ends earlier, with the heads of that time and a first line that says so: whole in itself."""
    lines = [json.loads(line) for line in (taken / "whole.jsonl").read_text().splitlines()]
    entries = [line for line in lines if line["kind"] == "entry"][:-by]
    last = entries[-1]
    heads = [line for line in lines if line["kind"] == "head" and int(line["note"].split("\n")[1]) <= last["seq"]]
    texts = [line for line in lines if line["kind"] == "text" and line["seq"] <= last["seq"]]
    counts = {"entries": len(entries), "texts": len(texts), "heads": len(heads)}
    first = {**lines[0], "end": [last["seq"], last["hash"]]}
    kept = folder / "short.jsonl"
    parts = [first, *entries, *texts, *heads, {"kind": "end", **counts}]
    kept.write_text("".join(json.dumps(part, ensure_ascii=False, separators=(",", ":")) + "\n" for part in parts))
    return kept


def test_a_missing_end_is_found_by_a_head_that_was_kept(taken: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (taken / "whole.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "entry"][-1]
    notes = [line["note"] for line in lines if line["kind"] == "head"]
    short, key = shortened(tmp_path, taken, by=40), taken / "public_key"
    kept = f"{last['seq']}:{last['hash']}"
    (tmp_path / "note").write_text(notes[-1])
    (tmp_path / "notes").write_text("\n".join(notes))
    assert verify("--export", short, key=key)[0] == 0, "nothing in it says that its end is gone"
    for head in (kept, tmp_path / "note", tmp_path / "notes"):
        assert verify("--export", taken / "whole.jsonl", "--head", head, key=key)[0] == 0
        code, told, _ = verify("--export", short, "--head", head, key=key)
        assert (code, "its end is missing" in told) == (1, True), told
    other = f"{last['seq'] - 3}:{last['hash']}"
    code, told, _ = verify("--export", taken / "whole.jsonl", "--head", other, key=key)
    assert (code, f"BROKEN at entry {last['seq'] - 3}" in told) == (1, True)
    assert verify("--export", short, "--head", "nonsense", key=key)[0] == 2
