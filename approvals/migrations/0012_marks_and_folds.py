from typing import Any

from django.db import migrations, models

import approvals.fields
from approvals.domain import folds
from approvals.domain.spoofing import findings


def mark_what_waits(apps: Any, schema_editor: Any) -> None:
    """Questions that wait already are folded and marked like those that come."""
    for approval in apps.get_model("approvals", "Approval").objects.filter(status="pending").iterator(chunk_size=50):
        approval.folded = folds.parts_of(approval.actions)
        approval.marks = findings.marks_of(approval.actions, approval.request, approval.state)
        approval.save(update_fields=["folded", "marks"])


class Migration(migrations.Migration):
    dependencies = [("approvals", "0011_people")]

    operations = [
        migrations.AddField("approval", "folded", models.JSONField(default=list)),
        migrations.AddField("approval", "marks", approvals.fields.CanonicalJSONField(default=list)),
        migrations.RunPython(mark_what_waits, migrations.RunPython.noop),
    ]
