"""The checkpoint tables read, watched and emptied by SQL alone. Builds no object from a checkpoint, so web may use it.

Every function takes a DB-API cursor on the database that holds the checkpoints.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")

# One head row a thread, kept at write time: "which threads moved" is one small index, not a scan of every checkpoint.
INSTALL_SQL = """
CREATE TABLE IF NOT EXISTS countersign_heads (
    thread_id text PRIMARY KEY,
    checkpoint_id text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_indexed boolean NOT NULL DEFAULT false
);
CREATE INDEX IF NOT EXISTS countersign_heads_to_index ON countersign_heads (changed_at) WHERE NOT is_indexed;

CREATE OR REPLACE FUNCTION countersign_note_checkpoint() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        UPDATE countersign_heads head SET is_indexed = false, changed_at = clock_timestamp(), checkpoint_id = coalesce(
            (SELECT max(c.checkpoint_id) FROM checkpoints c WHERE c.thread_id = OLD.thread_id AND c.checkpoint_ns = ''),
            head.checkpoint_id)
        WHERE head.thread_id = OLD.thread_id AND head.checkpoint_id = OLD.checkpoint_id;
        RETURN OLD;
    END IF;
    INSERT INTO countersign_heads AS head (thread_id, checkpoint_id) VALUES (NEW.thread_id, NEW.checkpoint_id)
    ON CONFLICT (thread_id) DO UPDATE SET
        checkpoint_id = greatest(head.checkpoint_id, EXCLUDED.checkpoint_id),
        is_indexed = false,
        changed_at = clock_timestamp();
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION countersign_note_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE countersign_heads SET is_indexed = false, changed_at = clock_timestamp() WHERE thread_id = NEW.thread_id;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER countersign_checkpoint AFTER INSERT OR UPDATE ON checkpoints
    FOR EACH ROW WHEN (NEW.checkpoint_ns = '') EXECUTE FUNCTION countersign_note_checkpoint();
CREATE OR REPLACE TRIGGER countersign_checkpoint_gone AFTER DELETE ON checkpoints
    FOR EACH ROW WHEN (OLD.checkpoint_ns = '') EXECUTE FUNCTION countersign_note_checkpoint();
CREATE OR REPLACE TRIGGER countersign_write AFTER INSERT OR UPDATE ON checkpoint_writes
    FOR EACH ROW WHEN (NEW.channel IN ('__interrupt__', '__resume__', '__error__'))
    EXECUTE FUNCTION countersign_note_write();

INSERT INTO countersign_heads (thread_id, checkpoint_id)
SELECT thread_id, max(checkpoint_id) FROM checkpoints WHERE checkpoint_ns = '' GROUP BY thread_id
ON CONFLICT (thread_id) DO NOTHING;
"""

_HEAD_SQL = """
SELECT head.checkpoint_id, coalesce((
    SELECT md5(string_agg(w.task_id || ':' || w.idx || ':' || w.channel, ',' ORDER BY w.task_id, w.idx))
    FROM checkpoint_writes w
    WHERE w.thread_id = %s AND w.checkpoint_ns = '' AND w.checkpoint_id = head.checkpoint_id
), ''), (SELECT changed_at FROM countersign_heads WHERE thread_id = %s)
FROM (
    SELECT checkpoint_id FROM checkpoints
    WHERE thread_id = %s AND checkpoint_ns = '' ORDER BY checkpoint_id DESC LIMIT 1
) head
"""


@dataclass(frozen=True)
class Head:
    """Where a thread stands: its newest checkpoint, and a fingerprint of the writes that wait on it."""

    checkpoint_id: str
    writes: str
    changed_at: datetime | None = field(default=None, compare=False)
    """When the trigger last saw the thread move: `mark_indexed` does nothing once this is past."""


def read_head(cursor: Any, thread_id: str) -> Head | None:
    """Return the head of the thread, or None if it has no checkpoint. Three index look-ups."""
    cursor.execute(_HEAD_SQL, [thread_id, thread_id, thread_id])
    row = cursor.fetchone()
    return Head(*row) if row else None


def threads_to_index(cursor: Any, *, limit: int, settled_seconds: float = 0) -> list[str]:
    """Return ids of threads that moved since they were last marked, but not just now; longest waiting first."""
    cursor.execute(
        "SELECT thread_id FROM countersign_heads WHERE NOT is_indexed"
        " AND changed_at <= clock_timestamp() - make_interval(secs => %s) ORDER BY changed_at LIMIT %s",
        [settled_seconds, limit],
    )
    return [row[0] for row in cursor.fetchall()]


def mark_indexed(cursor: Any, thread_id: str, head: Head | None) -> None:
    """Say that the thread was read at `head`; does nothing if it has moved since."""
    if head is None:
        cursor.execute(
            "DELETE FROM countersign_heads head WHERE thread_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM checkpoints c WHERE c.thread_id = head.thread_id AND c.checkpoint_ns = '')",
            [thread_id],
        )
        return
    # The time, not only the checkpoint: an interrupt() or an error is a write that leaves the checkpoint as it was.
    cursor.execute(
        "UPDATE countersign_heads SET is_indexed = true"
        " WHERE thread_id = %s AND checkpoint_id = %s AND changed_at IS NOT DISTINCT FROM %s",
        [thread_id, head.checkpoint_id, head.changed_at],
    )


def count_rows(cursor: Any, thread_id: str) -> dict[str, int]:
    """Return how many rows each checkpoint table holds for the thread."""
    counts = {}
    for table in _TABLES:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE thread_id = %s", [thread_id])
        counts[table] = cursor.fetchone()[0]
    return counts


def delete_rows(cursor: Any, thread_id: str) -> dict[str, int]:
    """Delete everything the checkpoint tables hold for the thread; return the rows deleted from each."""
    counts = {}
    for table in _TABLES:
        cursor.execute(f"DELETE FROM {table} WHERE thread_id = %s", [thread_id])
        counts[table] = cursor.rowcount
    cursor.execute("DELETE FROM countersign_heads WHERE thread_id = %s", [thread_id])
    return counts
