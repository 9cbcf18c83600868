"""Threads keep the context and config of their runs; workers say which graphs they could not load, and why."""

from django.db import migrations, models

import approvals.fields


class Migration(migrations.Migration):
    dependencies = [("approvals", "0022_voters")]

    operations = [
        migrations.AddField("thread", "options", approvals.fields.CanonicalJSONField(default=dict)),
        migrations.AddField("worker", "broken", models.JSONField(default=dict)),
    ]
