"""What lists need to stay quick: words to search in, and indexes in the order of each list.

`search` and `open_search` are columns that PostgreSQL fills by itself, and Django does not know. Nothing here holds a lock for
long: columns are added empty, filled in batches, and indexes are built while others write. So it is no transaction: what
was interrupted is run again.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

BATCH = 5_000

FUNCTIONS = r"""
-- The words of a text, in lower case. Any ASCII character that is no letter and no digit parts words, and so does
-- punctuation of Unicode. Where words are not parted by spaces, each character is a word.
CREATE OR REPLACE FUNCTION countersign_words(written text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_to_tsvector(array_remove(regexp_split_to_array(
        CASE WHEN written ~ '[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]'
             THEN regexp_replace(lower(written), '([\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff])', ' \1 ', 'g')
             ELSE lower(written) END,
        '[\u0001-\u002f\u003a-\u0060\u007b-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f]+'
    ), ''))
$$;

CREATE OR REPLACE FUNCTION countersign_fill_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.search := countersign_words(concat_ws(' ', NEW.title, NEW.summary, NEW.thread_id));
    -- Empty in decided ones, rather than in a partial index: the planner would take an index of words whose condition is
    -- `pending` for a list of what is pending.
    NEW.open_search := CASE WHEN NEW.status = 'pending' THEN NEW.search END;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION countersign_fill_thread() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.search := countersign_words(concat_ws(' ', NEW.title, NEW.id));
    RETURN NEW;
END $$;
"""
COLUMNS = """
ALTER TABLE approvals_approval ADD COLUMN IF NOT EXISTS search tsvector,
    ADD COLUMN IF NOT EXISTS open_search tsvector;
ALTER TABLE approvals_thread ADD COLUMN IF NOT EXISTS search tsvector;
CREATE OR REPLACE TRIGGER fill_new_approval BEFORE INSERT ON approvals_approval
    FOR EACH ROW EXECUTE FUNCTION countersign_fill_approval();
CREATE OR REPLACE TRIGGER fill_changed_approval BEFORE UPDATE ON approvals_approval
    FOR EACH ROW WHEN ((NEW.title, NEW.summary, NEW.thread_id, NEW.status)
        IS DISTINCT FROM (OLD.title, OLD.summary, OLD.thread_id, OLD.status))
    EXECUTE FUNCTION countersign_fill_approval();
CREATE OR REPLACE TRIGGER fill_new_thread BEFORE INSERT ON approvals_thread
    FOR EACH ROW EXECUTE FUNCTION countersign_fill_thread();
CREATE OR REPLACE TRIGGER fill_changed_thread BEFORE UPDATE ON approvals_thread
    FOR EACH ROW WHEN ((NEW.id, NEW.title) IS DISTINCT FROM (OLD.id, OLD.title))
    EXECUTE FUNCTION countersign_fill_thread();
"""
NO_COLUMNS = """
DROP TRIGGER fill_new_approval ON approvals_approval;
DROP TRIGGER fill_changed_approval ON approvals_approval;
DROP TRIGGER fill_new_thread ON approvals_thread;
DROP TRIGGER fill_changed_thread ON approvals_thread;
ALTER TABLE approvals_approval DROP COLUMN search, DROP COLUMN open_search;
ALTER TABLE approvals_thread DROP COLUMN search;
"""
NO_FUNCTIONS = """
DROP FUNCTION countersign_fill_approval();
DROP FUNCTION countersign_fill_thread();
DROP FUNCTION countersign_words(text);
"""
FILLED = {
    "approvals_approval": "search = countersign_words(concat_ws(' ', title, summary, thread_id)),"
    " open_search = CASE WHEN status = 'pending' THEN countersign_words(concat_ws(' ', title, summary, thread_id)) END",
    "approvals_thread": "search = countersign_words(concat_ws(' ', title, id))",
}
POLICY = r"""substring(body FROM '"policy_version":"((?:[^"\\]|\\.)*)"')"""
BY_HAND = {
    "approvals_search": "approvals_approval USING gin (search)",
    "approvals_open_search": "approvals_approval USING gin (open_search)",
    "threads_search": "approvals_thread USING gin (search)",
    "entries_policy": f"approvals_auditentry ({POLICY}, seq) WHERE {POLICY} <> ''",
}
"""Indexes on what Django does not know. The condition of the last is in `approvals/audit/filters.py` as well."""


def wait(apps: Any, editor: Any) -> None:
    """Take the time it takes: an index waits for every transaction that began before it."""
    editor.execute("SET statement_timeout = 0")
    editor.execute("SET lock_timeout = 0")


def wait_no_more(apps: Any, editor: Any) -> None:
    editor.execute("RESET statement_timeout")
    editor.execute("RESET lock_timeout")


def fill(apps: Any, editor: Any) -> None:
    for table, filled in FILLED.items():
        last = None
        while True:
            after = "true" if last is None else "id > %s"
            with editor.connection.cursor() as cursor:
                cursor.execute(
                    f"WITH batch AS (SELECT id FROM {table} WHERE {after} ORDER BY id LIMIT {BATCH} FOR UPDATE),"
                    f" filled AS (UPDATE {table} SET {filled} WHERE id IN (SELECT id FROM batch))"
                    f" SELECT id FROM batch ORDER BY id DESC LIMIT 1",
                    [] if last is None else [last],
                )
                found = cursor.fetchone()
            if found is None:
                break
            [last] = found


class BuildIndex(AddIndexConcurrently):
    """Build an index while others write; one that an interruption left half-built is built anew."""

    def database_forwards(self, app_label: str, editor: Any, from_state: Any, to_state: Any) -> None:
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}")
        super().database_forwards(app_label, editor, from_state, to_state)


def _by_hand(name: str) -> migrations.RunSQL:
    """Do the same for an index that Django does not know."""
    drop = f"DROP INDEX CONCURRENTLY IF EXISTS {name}"
    return migrations.RunSQL([drop, f"CREATE INDEX CONCURRENTLY {name} ON {BY_HAND[name]}"], drop)


PENDING, CLOSED = models.Q(status="pending"), ~models.Q(status="pending")
BUILT = {
    "approval": [
        models.Index(fields=["-closed_at", "-id"], condition=CLOSED, name="approvals_done"),
        models.Index(fields=["graph_id", "-closed_at", "-id"], condition=CLOSED, name="approvals_done_by_graph"),
        models.Index(fields=["kind", "-closed_at", "-id"], condition=CLOSED, name="approvals_done_by_kind"),
        models.Index(
            fields=["graph_id", "due_at", "created_at", "id"], condition=PENDING, name="approvals_due_by_graph"
        ),
        models.Index(fields=["kind", "due_at", "created_at", "id"], condition=PENDING, name="approvals_due_by_kind"),
    ],
    "thread": [models.Index(fields=["graph_id", "-updated_at", "-id"], name="threads_by_graph")],
    "auditentry": [
        models.Index(fields=["actor", "seq"], name="entries_by_actor"),
        models.Index(fields=["action", "seq"], name="entries_by_action"),
        models.Index(fields=["thread_id", "seq"], name="entries_by_thread"),
    ],
}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0018_readings")]

    operations = [
        migrations.RunPython(wait, wait_no_more),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
        migrations.RunSQL(COLUMNS, NO_COLUMNS),
        migrations.RunPython(fill, migrations.RunPython.noop),
        *(_by_hand(name) for name in BY_HAND),
        *(BuildIndex(model, index) for model, indexes in BUILT.items() for index in indexes),
        RemoveIndexConcurrently("approval", "approvals_closed"),
        # These have other indexes now.
        migrations.AlterField("thread", "graph_id", models.CharField(blank=True, max_length=200)),
        migrations.AlterField("auditentry", "actor", models.CharField(max_length=150)),
        migrations.AlterField("auditentry", "action", models.CharField(max_length=60)),
        migrations.AlterField("auditentry", "thread_id", models.CharField(blank=True, max_length=255)),
        migrations.AddField("auditcheck", "after", models.BigIntegerField(default=0)),
        migrations.RunPython(wait_no_more, wait),
    ]
