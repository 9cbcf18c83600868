"""An index of open approvals with the same voters: whoever is named seldom is found without a look at all of them."""

from django.db import migrations

DROP = "DROP INDEX CONCURRENTLY IF EXISTS approvals_by_voters"
BUILD = """
CREATE INDEX CONCURRENTLY approvals_by_voters ON approvals_approval (
    md5(COALESCE(rule ->> 'voters', '') || COALESCE(rule ->> 'escalate_to', '') || (escalated_at IS NOT NULL)::text),
    due_at, created_at, id
) WHERE status = 'pending'
"""


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0021_inquiries")]

    operations = [
        migrations.RunSQL(
            "SET statement_timeout = 0; SET lock_timeout = 0", "RESET statement_timeout; RESET lock_timeout"
        ),
        migrations.RunSQL([DROP, BUILD], DROP),
        migrations.RunSQL(
            "RESET statement_timeout; RESET lock_timeout", "SET statement_timeout = 0; SET lock_timeout = 0"
        ),
    ]
