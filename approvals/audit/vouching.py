"""What the log says of the basis of a decision: the question as asked, its rule, the voters' roles, the token.

Each is looked up by `about`, which has an index, all in one statement. The hashes of the entries are checked as well.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import combinations, product
from typing import Any

from django.db import connection

from agentcore.plain.json import canonical
from agentcore.testing.failpoints import is_off
from approvals.audit import rows
from approvals.audit.chain import entry_hash
from approvals.domain.policies import Rule, Voters, rule_from_metadata, strictest
from approvals.models import Approval, Thread, Vote
from approvals.programs import typed

READ = """
SELECT about, seq, prev_hash, hash, body FROM approvals_auditentry WHERE about = ANY(%(all)s)
UNION ALL
SELECT 'thread:' || thread_id, seq, prev_hash, hash, body FROM approvals_auditentry
 WHERE thread_id = ANY(%(threads)s)
 AND (strpos(body, '"thread:') > 0 OR action = 'vote.cast' AND body LIKE ANY(%(on)s::text[]))
UNION ALL
(SELECT DISTINCT ON (about) about, seq, prev_hash, hash, body FROM approvals_auditentry
 WHERE about = ANY(%(newest)s) ORDER BY about, seq DESC)
ORDER BY seq
"""
LOOK_CLOSER = """
SELECT about, seq, prev_hash, hash, body FROM approvals_auditentry
WHERE about = ANY(%(abouts)s::text[])
 OR action = 'record.adopted' AND EXISTS (SELECT 1 FROM unnest(%(keys)s::text[]) AS key WHERE strpos(body, key) > 0)
ORDER BY seq
"""
METADATA, DEFAULT = "the graph's metadata", "default"
MOST_NODES = 8


@dataclass(frozen=True)
class Log:
    """Entries by `about`: of questions and policies all of them, oldest first; of anything else the newest."""

    records: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)

    def rows_of(self, key: str, *abouts: str) -> dict[str, Any] | None:
        """Return the newest recorded value of each column of a row."""
        told: dict[str, Any] = {}
        for record in self._told(abouts):
            told |= (record.get("rows") or {}).get(key) or {}
        return told or None

    def keys_of(self, kind: str, *abouts: str) -> set[str]:
        """Return the keys of the recorded rows of a kind."""
        return {key for record in self._told(abouts) for key in record.get("rows") or {} if key.startswith(f"{kind}:")}

    def _told(self, abouts: Sequence[str]) -> list[dict[str, Any]]:
        return sorted((each for about in abouts for each in self.records.get(about, ())), key=lambda each: each["seq"])


def about_policy(source: str) -> str:
    return f"policy:{source}"


def read(
    approvals: Iterable[Approval],
    *,
    people: Iterable[int] = (),
    token: str = "",
    with_rules: bool = True,
    threads: Iterable[str] = (),
) -> Log:
    """Read everything about these questions and people in one statement.

    With rules, read what a vote needs as well: the threads and the votes so far.
    """
    asked = list(approvals)
    about_threads = set(threads)
    newest = {f"person:{pk}" for pk in people} | ({f"token:{token}"} if token else set())
    whole = {rows.key_of(each) for each in asked}
    if with_rules:
        about_threads |= {each.thread_id for each in asked}
        whole |= {about_policy(part) for each in asked for part in _segments(_source(each))}
        newest |= {f"graph:{each.graph_id}" for each in asked if METADATA in _source(each)}
        newest |= {f"reading:{each.thread_id}" for each in asked}
    on = [f'%"approval":"{each.pk}"%' for each in asked]
    wanted = {"all": sorted(whole), "newest": sorted(newest), "threads": sorted(about_threads), "on": on}
    found: dict[str, list[dict[str, Any]]] = {}
    for about, record in _entries(READ, wanted):
        found.setdefault(about, []).append(record)
    return Log(found)


def _entries(query: str, wanted: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    with connection.cursor() as cursor:
        cursor.execute(query, wanted)
        return [
            (about, json.loads(body))
            for about, seq, prev_hash, stored, body in cursor.fetchall()
            if entry_hash(seq, prev_hash, body) == stored
        ]


CLOSER = "closer"


def _look_closer(log: Log, keys: Iterable[str], *abouts: str) -> Log:
    """Add what was adopted of rows, and what is about others: a second statement, only where something differs."""
    found = _entries(LOOK_CLOSER, {"keys": [canonical(key) for key in keys], "abouts": list(abouts)})
    return Log({**log.records, CLOSER: [record for _, record in found]})


def thread_differs(log: Log, thread: Thread) -> list[str]:
    """Name the columns of a thread, its authors and its graph, that differ from the log."""
    if is_off("row_check"):
        return []
    differing = _thread_differs(log, thread)
    if differing:
        started_by = (log.rows_of(rows.key_of(thread), rows.key_of(thread)) or {}).get("started_by_id")
        differing = _thread_differs(_look_closer(log, [rows.key_of(thread)], f"person:{started_by}"), thread)
    return [f"thread {name.removesuffix('_id') if name == 'started_by_id' else name}" for name in differing]


def _thread_differs(log: Log, thread: Thread) -> list[str]:
    key = rows.key_of(thread)
    wanted = rows.untold("thread") | (log.rows_of(key, key, CLOSER) or {})
    here = {column.name for column in rows.columns("thread")} - thread.get_deferred_fields()
    found = rows.told(thread, *here)[key] or {}
    return sorted(name for name in here & wanted.keys() if found[name] != wanted[name])


def reading_differs(log: Log, thread: Thread) -> list[str]:
    """Name the newest reading of a thread, which is read now, if it is not the one that the log has."""
    key, reading = f"reading:{thread.pk}", getattr(thread, "reading", None)
    found = rows.told(reading)[key] if reading else None
    return ["thread reading"] if found != log.rows_of(key, key) and not is_off("row_check") else []


def why_not_thread(differing: Sequence[str]) -> str:
    """Return the refusal for a thread that was changed outside the console."""
    if not differing:
        return ""
    return (
        f"This thread is not as the audit log has it: {_listed([each.partition(' ')[2] for each in differing])} changed"
        " in the database since. Nobody can decide or run anything on it. Have an auditor verify the log."
    )


def why_not_votes(log: Log, approval: Approval, votes: Sequence[Vote]) -> str:
    """Return the refusal where the counting votes differ from those that the log has."""
    if is_off("row_check") or not _votes_differ(log, approval, votes):
        return ""
    if not _votes_differ(_look_closer(log, [rows.key_of(vote) for vote in votes]), approval, votes):
        return ""
    return (
        "The votes on this are not those that the audit log has: one was added, ended or changed in the database."
        " Nobody can decide it. Have an auditor verify the log; fork the thread to have it asked anew."
    )


def _votes_differ(log: Log, approval: Approval, votes: Sequence[Vote]) -> bool:
    abouts = (rows.key_of(approval), f"thread:{approval.thread_id}", CLOSER)
    here = {rows.key_of(vote): vote for vote in votes}
    told = {key: log.rows_of(key, *abouts) or {} for key in here.keys() | log.keys_of("vote", *abouts)}
    counting = {
        key
        for key, columns in told.items()
        if columns.get("ended_at") is False and columns.get("approval_id") == str(approval.pk)
    }
    return counting != here.keys() or any(rows.told(vote)[key] != told[key] for key, vote in here.items())


def what_differs(log: Log, approval: Approval) -> list[str]:
    """Name the columns of a question that differ from the log. Columns that were not read are not compared."""
    if is_off("row_check"):
        return []
    key = rows.key_of(approval)
    wanted = log.rows_of(key, key)
    if wanted is None:
        return ["entry"]
    here = {column.name for column in rows.columns("approval")} - approval.get_deferred_fields()
    known = [name for name in wanted if name in here or f"mark_of_{name}" in approval.__dict__]
    found = rows.told(approval, *known)[key] or {}
    differing = [name for name in known if found[name] != wanted[name]]
    if differing and approval.thread.cleaned_at:
        left = rows.emptied("approval")
        differing = [name for name in differing if found[name] != left.get(name, wanted[name])]
    return differing


def why_not_altered(differing: Sequence[str]) -> str:
    """Return the refusal for a question of which `differing` differs from the log."""
    if not differing:
        return ""
    if list(differing) == ["entry"]:
        told = "The audit log has no entry of this question: it was put into the database past the console."
    else:
        told = f"This is not what the agent asked: {_listed(differing)} changed in the database since."
    return f"{told} Nobody can decide it. Have an auditor verify the log; fork the thread to have it asked anew."


def why_not_person(log: Log, person_id: int | None, username: str, roles: Mapping[str, datetime]) -> str:
    """Return the refusal for rights that a person got outside the console."""
    told = log.rows_of(f"person:{person_id}", f"person:{person_id}") or {}
    known = set(zip(told.get("groups", ()), told.get("since", ()), strict=False))
    if told.get("is_superuser"):
        known.add(("admin", told["date_joined"]))
    found = {(name, rows.since(at)) for name, at in roles.items()} | {
        (name, rows.short(at)) for name, at in roles.items() if name == "admin"
    }
    untold = {name for name in roles if not any(each in known for each in found if each[0] == name)}
    is_known = told.get("is_active") is True and told.get("username") == username
    if is_off("row_check") or (is_known and not untold):
        return ""
    missing = ", ".join(sorted(untold)) if is_known else "account"
    return (
        f"The audit log has no entry that gives {username} this: {missing}. So it counts for nothing."
        f" An admin opens People, {username}, looks at it and saves: that is the entry."
    )


def why_not_token(log: Log, token: str, person_id: int | None) -> str:
    """Return the refusal for a token that was inserted outside the console."""
    if not token or is_off("row_check"):
        return ""
    told = log.rows_of(f"token:{token}", f"token:{token}") or {}
    if told.get("user_id") == person_id:
        return ""
    another = typed("token USERNAME")
    return f"The audit log has no entry of the token you came with. An operator makes another: {another}."


def why_not_rule(log: Log, approval: Approval) -> str:
    """Return the refusal for a rule that neither an admin nor the graph's author wrote."""
    wanted = Rule.of(approval.rule)
    if is_off("row_check") or any(_is_same(wanted, rule) for rule in _rules(log, approval, wanted.source)):
        return ""
    return (
        f"The rule of this question ({wanted.source}) is not one that the audit log has, so nothing is decided by it."
        " An admin opens the policy, looks at it and saves; then fork the thread to have it asked anew."
    )


def _rules(log: Log, approval: Approval, source: str) -> Iterable[Rule]:
    """Yield the possible rules, computed from the entries of the policies that the rule names."""
    for parts in _splits(source):
        for known in product(*(_written(log, part) for part in parts if part != METADATA)):
            if METADATA not in parts:
                yield strictest(known)
                continue
            nodes = _metadata_rules(log, approval)[:MOST_NODES]
            for count in range(1, len(nodes) + 1):
                for chosen in combinations(nodes, count):
                    yield strictest([*known, *chosen])


def _written(log: Log, source: str) -> list[Rule]:
    """Return the recorded contents of a policy of this name: one may have been removed and made again."""
    if source == DEFAULT:
        return [Rule()]
    written = (record["object"].get("rule") for record in log.records.get(about_policy(source), ()))
    return [Rule.of(plain) for plain in written if isinstance(plain, dict)]


def _metadata_rules(log: Log, approval: Approval) -> list[Rule]:
    records = log.records.get(f"graph:{approval.graph_id}", ())
    written = records[-1]["object"].get("policies", {}) if records else {}
    places = ["|".join([*approval.path, node]) for node in approval.next]
    return [rule_from_metadata(written[place]) for place in places if place in written]


def _is_same(one: Rule, other: Rule) -> bool:
    return _plain(one) == _plain(other)


def _plain(rule: Rule) -> Rule:
    voters = [Voters(tuple(sorted(each.people)), tuple(sorted(each.groups))) for each in rule.voters]
    return replace(
        rule,
        source="",
        voters=tuple(sorted(voters, key=lambda each: (each.people, each.groups))),
        escalate_to=tuple(sorted(rule.escalate_to)),
    )


def _source(approval: Approval) -> str:
    return str(approval.rule.get("source", DEFAULT))


def _segments(source: str) -> set[str]:
    """Return every policy name that a source may contain: names are joined by a plus, and may contain one."""
    return {part for parts in _splits(source) for part in parts} - {METADATA, DEFAULT}


def _splits(source: str) -> list[list[str]]:
    first, _, rest = source.partition(" + ")
    if not rest:
        return [[source]]
    splits = _splits(rest)
    joined = [[f"{first} + {parts[0]}", *parts[1:]] for parts in splits]
    return [[first, *parts] for parts in splits] + (joined if source.count(" + ") < MOST_NODES else [])


def _listed(names: Sequence[str]) -> str:
    shown = [name.replace("_", " ") for name in names[:5]] + (["more"] if len(names) > 5 else [])
    return f"its {' and its '.join(shown)} {'was' if len(names) == 1 else 'were'}"
