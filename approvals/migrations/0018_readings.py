import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0017_trial_results")]

    operations = [
        migrations.CreateModel(
            name="Reading",
            fields=[
                (
                    "thread",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="reading",
                        serialize=False,
                        to="approvals.thread",
                    ),
                ),
                ("checkpoint_id", models.CharField(max_length=64)),
                ("head_writes", models.CharField(blank=True, max_length=32)),
                ("bound", models.JSONField(null=True)),
            ],
        ),
    ]
