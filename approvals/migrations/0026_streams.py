"""Streams of runs: who subscribed, and what was sent. PostgreSQL logs neither table: what a crash loses is sent again, or over."""

import uuid

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


def unlogged(table: str) -> migrations.RunSQL:
    return migrations.RunSQL(f"ALTER TABLE {table} SET UNLOGGED", f"ALTER TABLE {table} SET LOGGED")


class Migration(migrations.Migration):
    dependencies = [("approvals", "0025_runs_of_clients")]

    operations = [
        migrations.CreateModel(
            "Subscription",
            [
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "thread",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="approvals.thread",
                    ),
                ),
                ("modes", models.JSONField()),
                ("has_subgraphs", models.BooleanField()),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            "StreamPart",
            [
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="approvals.run",
                    ),
                ),
                (
                    "thread",
                    models.ForeignKey(
                        db_index=False,
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="approvals.thread",
                    ),
                ),
                ("mode", models.CharField(max_length=20)),
                ("name", models.TextField()),
                ("is_inner", models.BooleanField()),
                ("data", models.TextField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), db_index=True),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["run", "id"], name="stream_of_run"),
                    models.Index(fields=["thread", "id"], name="stream_of_thread"),
                ],
            },
        ),
        unlogged("approvals_subscription"),
        unlogged("approvals_streampart"),
    ]
