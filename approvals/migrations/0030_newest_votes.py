"""An index of each person's newest votes, for the tray.

It is built while others write. So it is no transaction: what was interrupted is run again.
"""

from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

INDEX = models.Index(fields=["voter", "-created_at"], name="votes_newest")


class VotesIndex(AddIndexConcurrently):
    """Build an index while others write; one that an interruption left half-built is built anew."""

    def database_forwards(self, app_label: str, editor: Any, from_state: Any, to_state: Any) -> None:
        editor.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {self.index.name}")
        super().database_forwards(app_label, editor, from_state, to_state)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("approvals", "0029_snoozes")]

    operations = [
        migrations.RunSQL(
            "SET statement_timeout = 0; SET lock_timeout = 0", "RESET statement_timeout; RESET lock_timeout"
        ),
        VotesIndex("vote", INDEX),
        migrations.RunSQL(
            "RESET statement_timeout; RESET lock_timeout", "SET statement_timeout = 0; SET lock_timeout = 0"
        ),
    ]
