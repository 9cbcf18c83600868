"""What we add to LangGraph's checkpoint tables: one head row a thread, and triggers that record and notify changes."""

from agentcore.savers.listener_locks import LOCKS

VERSION = 5
"""Count up when INSTALL changes: a database that has this number, or a higher one, is left as it is."""

TABLES = (
    "countersign_meta",
    "countersign_heads",
    "countersign_fences",
    "countersign_holds",
    "countersign_effects",
    "countersign_tombstones",
)

# Each statement is a transaction: it locks one table for a moment, so it takes part in no deadlock.
# All of them can be run again, and VERSION is stored after the last. What a trigger calls comes before it: agents write
# while this is installed.
INSTALL = (
    # A write with another number than the thread's is refused; who raises the number waits for writes that are made.
    """
CREATE TABLE IF NOT EXISTS countersign_fences (
    thread_id text PRIMARY KEY,
    fence bigint NOT NULL
)""",
    # Of runs that have their lease: until then others write nothing to the thread; or, with `lets_others`, it is noted.
    """
CREATE TABLE IF NOT EXISTS countersign_holds (
    thread_id text PRIMARY KEY,
    fence bigint NOT NULL,
    held_until timestamptz NOT NULL,
    lets_others boolean NOT NULL,
    has_others boolean NOT NULL DEFAULT false
)""",
    # The setting lasts as long as the transaction, and tells the triggers that the writer is the holder.
    """
CREATE OR REPLACE FUNCTION countersign_held(thread text, held bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM countersign_fences WHERE thread_id = thread AND fence = held FOR SHARE;
    IF NOT FOUND THEN RAISE EXCEPTION 'the fence is lost' USING ERRCODE = 'CSF01'; END IF;
    PERFORM set_config('countersign.held', concat(held, ':', thread), true);
    RETURN thread;
END $$""",
    # Lock order of every writer: the fence, then the head row.
    """
CREATE OR REPLACE FUNCTION countersign_take(thread text, number bigint, seconds float8, others_may boolean)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO countersign_fences AS known (thread_id, fence) VALUES (thread, number)
    ON CONFLICT (thread_id) DO UPDATE SET fence = greatest(known.fence, EXCLUDED.fence);
    IF seconds IS NULL THEN
        DELETE FROM countersign_holds WHERE thread_id = thread;
        RETURN;
    END IF;
    INSERT INTO countersign_holds (thread_id, fence, held_until, lets_others)
    VALUES (thread, number, clock_timestamp() + make_interval(secs => seconds), others_may)
    ON CONFLICT (thread_id) DO UPDATE SET
        fence = EXCLUDED.fence, held_until = EXCLUDED.held_until, lets_others = EXCLUDED.lets_others;
    PERFORM FROM countersign_heads WHERE thread_id = thread FOR UPDATE;
END $$""",
    """
CREATE OR REPLACE FUNCTION countersign_check_holder(thread text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    holder countersign_holds;
BEGIN
    SELECT * INTO holder FROM countersign_holds WHERE thread_id = thread AND held_until > clock_timestamp();
    IF NOT FOUND OR current_setting('countersign.held', true) = concat(holder.fence, ':', thread) THEN
        RETURN;
    ELSIF NOT holder.lets_others THEN
        RAISE EXCEPTION 'a run of the approval console holds this thread: nothing that others write to it is stored'
            USING ERRCODE = 'CSF03', HINT = 'Wait until its run stops, read the thread again, and go on from where it '
            'stands then. A node of yours that has run may have had its effect: look before you run it again.';
    ELSIF NOT holder.has_others THEN
        UPDATE countersign_holds SET has_others = true WHERE thread_id = thread;
    END IF;
END $$""",
    # One head row a thread, kept at write time: "which threads moved" is one small index, not a scan of checkpoints.
    """
CREATE TABLE IF NOT EXISTS countersign_heads (
    thread_id text PRIMARY KEY,
    checkpoint_id text NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    is_indexed boolean NOT NULL DEFAULT false
)""",
    "CREATE INDEX IF NOT EXISTS countersign_heads_to_index ON countersign_heads (changed_at) WHERE NOT is_indexed",
    """
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
    -- Again, with the head row locked: whoever takes the thread locks it too, so one of us has seen the other.
    IF EXISTS (SELECT FROM countersign_holds WHERE thread_id = NEW.thread_id) THEN
        PERFORM countersign_check_holder(NEW.thread_id);
    END IF;
    RETURN NEW;
END $$""",
    """
CREATE OR REPLACE FUNCTION countersign_note_write() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE countersign_heads SET is_indexed = false, changed_at = clock_timestamp() WHERE thread_id = NEW.thread_id;
    RETURN NEW;
END $$""",
    """
CREATE OR REPLACE TRIGGER countersign_checkpoint AFTER INSERT OR UPDATE ON checkpoints
    FOR EACH ROW WHEN (NEW.checkpoint_ns = '') EXECUTE FUNCTION countersign_note_checkpoint()""",
    """
CREATE OR REPLACE TRIGGER countersign_checkpoint_gone AFTER DELETE ON checkpoints
    FOR EACH ROW WHEN (OLD.checkpoint_ns = '') EXECUTE FUNCTION countersign_note_checkpoint()""",
    # A subgraph that stops at a breakpoint writes a checkpoint of its own, and leaves the thread's newest as it is.
    """
CREATE OR REPLACE TRIGGER countersign_below AFTER INSERT OR UPDATE ON checkpoints
    FOR EACH ROW WHEN (NEW.checkpoint_ns <> '') EXECUTE FUNCTION countersign_note_write()""",
    """
CREATE OR REPLACE TRIGGER countersign_write AFTER INSERT OR UPDATE ON checkpoint_writes
    FOR EACH ROW WHEN (NEW.channel IN ('__interrupt__', '__resume__', '__error__'))
    EXECUTE FUNCTION countersign_note_write()""",
    # Each change of a thread sends a notification with the thread's mark, if somebody holds its listener lock.
    f"""
CREATE OR REPLACE FUNCTION countersign_ring(thread_id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mark text := md5(convert_to(thread_id, 'UTF8'));
    lock_key int := get_byte(decode(left(mark, 2), 'hex'), 0);
BEGIN
    IF (CASE WHEN pg_try_advisory_lock({LOCKS}, lock_key) THEN NOT pg_advisory_unlock({LOCKS}, lock_key)
        ELSE true END) THEN
        PERFORM pg_notify('countersign_changes', mark);
    END IF;
END $$""",
    """
CREATE OR REPLACE FUNCTION countersign_tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN PERFORM pg_notify('countersign_changes', '*'); RETURN NULL; END IF;
    IF TG_OP <> 'INSERT' THEN PERFORM countersign_ring(OLD.thread_id); END IF;
    IF TG_OP <> 'DELETE' THEN PERFORM countersign_ring(NEW.thread_id); END IF;
    RETURN NULL;
END $$""",
    *(
        f"CREATE OR REPLACE TRIGGER countersign_{name} AFTER {event} ON {table}"
        f" FOR EACH {each} EXECUTE FUNCTION countersign_tell()"
        for table in ("checkpoints", "checkpoint_writes")
        for name, event, each in (
            ("change", "INSERT OR UPDATE OR DELETE", "ROW"),
            ("truncate", "TRUNCATE", "STATEMENT"),
        )
    ),
    # LangGraph never changes or removes a stored value in place. Whoever does so is noticed.
    """
CREATE OR REPLACE FUNCTION countersign_note_rewritten() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE countersign_heads SET is_indexed = false, changed_at = clock_timestamp()
        WHERE thread_id IN (SELECT thread_id FROM gone);
    PERFORM countersign_ring(each.thread_id) FROM (SELECT DISTINCT thread_id FROM gone) each;
    RETURN NULL;
END $$""",
    *(
        f"CREATE OR REPLACE TRIGGER countersign_{name} AFTER {event} ON {table}"
        " REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION countersign_note_rewritten()"
        for name, event, table in (
            ("rewritten", "UPDATE", "checkpoint_blobs"),
            ("removed", "DELETE", "checkpoint_blobs"),
            ("removed", "DELETE", "checkpoint_writes"),
        )
    ),
    """
CREATE TABLE IF NOT EXISTS countersign_effects (
    key text PRIMARY KEY,
    thread_id text NOT NULL,
    result text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
    "CREATE INDEX IF NOT EXISTS countersign_effects_thread ON countersign_effects (thread_id)",
    # Removed threads stay removed: LangGraph's own saver is refused too. The table is usually empty, so it is cheap.
    """
CREATE TABLE IF NOT EXISTS countersign_tombstones (
    thread_id text PRIMARY KEY,
    laid_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted bigint NOT NULL DEFAULT 0,
    is_settled boolean NOT NULL DEFAULT false
)""",
    """
CREATE INDEX IF NOT EXISTS countersign_tombstones_unsettled ON countersign_tombstones (laid_at)
    WHERE NOT is_settled""",
    """
CREATE OR REPLACE FUNCTION countersign_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM countersign_tombstones WHERE thread_id = NEW.thread_id) THEN
        RAISE EXCEPTION 'this thread was force-cleaned: nothing is written to it any more' USING ERRCODE = 'CSF02';
    END IF;
    RETURN NEW;
END $$""",
    *(
        f"CREATE OR REPLACE TRIGGER countersign_refused BEFORE INSERT ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION countersign_refuse()"
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes", "countersign_effects")
    ),
    # Effects are not refused: one that another program has done is noted, and not done twice.
    """
CREATE OR REPLACE FUNCTION countersign_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NOT EXISTS (SELECT FROM countersign_holds WHERE thread_id = NEW.thread_id) THEN
        RETURN NEW;  -- as nearly always: it costs one look into a table that is nearly empty
    END IF;
    IF TG_OP = 'TRUNCATE' THEN
        IF EXISTS (SELECT FROM countersign_holds WHERE held_until > clock_timestamp()) THEN
            RAISE EXCEPTION 'runs of the approval console hold threads of this table: it is not emptied'
                USING ERRCODE = 'CSF03', HINT = 'Wait until they stop.';
        END IF;
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN PERFORM countersign_check_holder(OLD.thread_id); END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    IF TG_OP = 'INSERT' OR NEW.thread_id <> OLD.thread_id THEN
        PERFORM countersign_check_holder(NEW.thread_id);
    END IF;
    RETURN NEW;
END $$""",
    *(
        f"CREATE OR REPLACE TRIGGER countersign_{name} BEFORE {event} ON {table}"
        f" FOR EACH {each} EXECUTE FUNCTION countersign_guard()"
        for table in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
        for name, event, each in (
            ("guarded", "INSERT OR UPDATE OR DELETE", "ROW"),
            ("kept", "TRUNCATE", "STATEMENT"),
        )
    ),
    # Two random uuids are 244 random bits.
    """
CREATE TABLE IF NOT EXISTS countersign_meta (
    id int PRIMARY KEY CHECK (id = 1),
    version int NOT NULL,
    secret bytea NOT NULL
)""",
    """
INSERT INTO countersign_meta VALUES (1, 0, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
ON CONFLICT DO NOTHING""",
)

FILL_HEADS_SQL = """
WITH batch AS (
    SELECT thread_id, max(checkpoint_id) AS checkpoint_id FROM checkpoints
    WHERE checkpoint_ns = '' AND (%(last)s::text IS NULL OR thread_id > %(last)s)
    GROUP BY thread_id ORDER BY thread_id LIMIT 1000
), filled AS (
    INSERT INTO countersign_heads (thread_id, checkpoint_id) SELECT * FROM batch ON CONFLICT DO NOTHING
)
SELECT max(thread_id) AS last FROM batch HAVING count(*) > 0
"""
"""Fills in threads that are older than the triggers, a thousand after `last`; returns the next `last`, or no row."""
