"""Indexes in the order of lists that are sorted by amount, or grouped by action or customer.

They are built while others write. So it is no transaction: what was interrupted is run again.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

PENDING = models.Q(status="pending")
INDEXES = [
    models.Index(fields=["action", "due_at", "created_at", "id"], condition=PENDING, name="approvals_due_by_action"),
    models.Index(
        fields=["customer", "due_at", "created_at", "id"], condition=PENDING, name="approvals_due_by_customer"
    ),
    models.Index(
        models.F("amount").desc(nulls_last=True), "created_at", "id", condition=PENDING, name="approvals_by_amount"
    ),
    models.Index(
        fields=["amount"], condition=models.Q(amount__isnull=False) & ~PENDING, name="approvals_done_by_amount"
    ),
]


class RebuildIndex(AddIndexConcurrently):
    """Build an index while others write; one that an interruption left half-built is built anew."""

    def database_forwards(self, app_label: str, editor: Any, from_state: Any, to_state: Any) -> None:
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}")
        super().database_forwards(app_label, editor, from_state, to_state)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0027_gists_and_views")]

    operations = [
        migrations.RunSQL(
            "SET statement_timeout = 0; SET lock_timeout = 0", "RESET statement_timeout; RESET lock_timeout"
        ),
        *(RebuildIndex("approval", index) for index in INDEXES),
        migrations.RunSQL(
            "RESET statement_timeout; RESET lock_timeout", "SET statement_timeout = 0; SET lock_timeout = 0"
        ),
    ]
