"""What the code of a run prints, logs and warns of is kept with the run."""

import django.db.models.deletion
from django.db import migrations, models

import approvals.fields


class Migration(migrations.Migration):
    dependencies = [("approvals", "0023_options_and_broken_graphs")]

    operations = [
        migrations.AddField("run", "has_log", models.BooleanField(default=False)),
        migrations.CreateModel(
            "RunLog",
            [
                (
                    "run",
                    models.OneToOneField(
                        "approvals.Run",
                        primary_key=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log",
                        serialize=False,
                    ),
                ),
                ("lines", approvals.fields.CanonicalJSONField(default=list)),
                ("dropped", models.PositiveIntegerField(default=0)),
            ],
        ),
    ]
