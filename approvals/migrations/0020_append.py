"""Entries are numbered, chained and appended by one function, so that the log's head is locked for one statement."""

from typing import Any

from django.db import migrations

# A body comes in three parts, because its time and its number are known only under the lock. Texts name their entry by
# its place in the arrays. The hash is that of `approvals.audit.chain.entry_hash`.
APPEND = """
CREATE OR REPLACE FUNCTION countersign_append(
    actors text[], actions text[], threads text[], abouts text[], heads text[], middles text[], tails text[],
    text_of integer[], text_names text[], text_salts text[], texts text[]
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    first bigint;
    last text;
    moment timestamptz;
    told text;
    body text;
    chained text;
BEGIN
    SELECT seq + 1, hash INTO first, last FROM approvals_audithead WHERE id = 1 FOR UPDATE;
    IF first IS NULL THEN
        RAISE EXCEPTION 'The audit log has lost its head; see manage.py verify_audit_log.';
    END IF;
    moment := clock_timestamp();
    told := to_char(moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')
        || CASE WHEN extract(microseconds FROM moment)::bigint % 1000000 = 0 THEN '' ELSE to_char(moment, '.US') END
        || '+00:00';
    FOR i IN 1 .. cardinality(actors) LOOP
        body := concat(heads[i], '"', told, '"', middles[i], first + i - 1, tails[i]);
        chained := encode(sha256(convert_to(concat_ws(E'\\n',
            'countersign-audit-v1', first + i - 1, last, octet_length(convert_to(body, 'UTF8')), body), 'UTF8')), 'hex');
        INSERT INTO approvals_auditentry (seq, at, actor, action, thread_id, about, body, prev_hash, hash)
        VALUES (first + i - 1, moment, actors[i], actions[i], threads[i], abouts[i], body, last, chained);
        last := chained;
    END LOOP;
    INSERT INTO approvals_audittext (seq, name, salt, text, erased_by)
    SELECT first + each.entry - 1, each.name, each.salt, each.text, ''
    FROM unnest(text_of, text_names, text_salts, texts) AS each(entry, name, salt, text);
    UPDATE approvals_audithead SET seq = first + cardinality(actors) - 1, hash = last WHERE id = 1;
    RETURN first;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0019_lists")]

    operations: list[Any] = [
        migrations.RunSQL(
            APPEND,
            "DROP FUNCTION countersign_append(text[], text[], text[], text[], text[], text[], text[], integer[], text[],"
            " text[], text[])",
        )
    ]
