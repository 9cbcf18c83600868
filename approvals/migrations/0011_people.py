"""Who counts: authors of threads, since when somebody is in a group, and what a policy lets people edit."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

# A group joined before times were kept counts for every question. The clock, not the transaction's time: a role that
# is given in a long transaction is no older than when it was given.
GRANTED_AT = """
ALTER TABLE auth_user_groups ADD COLUMN granted_at timestamptz NOT NULL DEFAULT 'epoch';
ALTER TABLE auth_user_groups ALTER COLUMN granted_at SET DEFAULT clock_timestamp();
"""
NO_GRANTED_AT = "ALTER TABLE auth_user_groups DROP COLUMN granted_at"

ASKED_AT = "UPDATE approvals_approval SET asked_at = created_at"

# Where each of them came in is not known any more: then a fork of any place has it.
AUTHORS = """
CREATE TEMPORARY TABLE known_author ON COMMIT DROP AS
SELECT DISTINCT thread_id, started_by AS name, CASE kind WHEN 'start' THEN 'input' ELSE kind END AS how, '' AS of
FROM approvals_run WHERE kind IN ('start', 'fork', 'replay') AND started_by <> ''
UNION ALL
(SELECT DISTINCT ON (approval.id) approval.thread_id, voter.username, 'edit', ''
FROM approvals_decision AS decision
JOIN approvals_approval AS approval ON approval.id = decision.approval_id
JOIN approvals_vote AS vote ON vote.approval_id = approval.id AND vote.verdict = decision.verdict
JOIN auth_user AS voter ON voter.id = vote.voter_id
WHERE (decision.verdict IN ('skip', 'respond') OR decision.edits <> '{}')
  AND vote.edits = decision.edits AND vote.answer IS NOT DISTINCT FROM decision.answer
ORDER BY approval.id, vote.created_at);

WITH RECURSIVE lineage AS (
    SELECT id AS thread_id, forked_from AS source FROM approvals_thread WHERE forked_from <> ''
    UNION
    SELECT lineage.thread_id, thread.forked_from
    FROM lineage JOIN approvals_thread AS thread ON thread.id = lineage.source WHERE thread.forked_from <> ''
)
INSERT INTO known_author
SELECT lineage.thread_id, author.name, author.how, author.thread_id
FROM lineage JOIN known_author AS author ON author.thread_id = lineage.source;

UPDATE approvals_thread AS thread SET authors = found.authors
FROM (
    SELECT thread_id, jsonb_agg(jsonb_build_object('name', name, 'how', how, 'of', of, 'after', '')) AS authors
    FROM known_author GROUP BY thread_id
) AS found
WHERE found.thread_id = thread.id;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0010_nested_gates"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RunSQL(GRANTED_AT, NO_GRANTED_AT),
        migrations.CreateModel(
            name="Membership",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("granted_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING, related_name="+", to="auth.group"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="memberships",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "auth_user_groups", "managed": False},
        ),
        migrations.AddField(
            "policy", "edit_needs_another", models.BooleanField("an edit needs another person", default=False)
        ),
        migrations.AddField("policy", "may_edit", models.JSONField(blank=True, null=True)),
        migrations.AddField("thread", "authors", models.JSONField(default=list)),
        migrations.AddField("vote", "is_own", models.BooleanField(default=False)),
        migrations.AddField(
            "approval", "asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())
        ),
        migrations.RunSQL(ASKED_AT, migrations.RunSQL.noop),
        migrations.RunSQL(AUTHORS, migrations.RunSQL.noop),
    ]
