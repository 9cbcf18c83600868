"""What a list shows of a question (what, how much, for whom), and saved views.

Questions that were asked before keep their title in lists.
"""

from typing import Any

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

FILL = """
CREATE OR REPLACE FUNCTION countersign_fill_approval() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.search := countersign_words(concat_ws(' ', NEW.title, NEW.summary, {more}NEW.thread_id));
    NEW.open_search := CASE WHEN NEW.status = 'pending' THEN NEW.search END;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER fill_changed_approval BEFORE UPDATE ON approvals_approval
    FOR EACH ROW WHEN ((NEW.title, NEW.summary, {new}NEW.thread_id, NEW.status)
        IS DISTINCT FROM (OLD.title, OLD.summary, {old}OLD.thread_id, OLD.status))
    EXECUTE FUNCTION countersign_fill_approval();
"""
NOW = FILL.format(
    more="NEW.headline, NEW.customer, ", new="NEW.headline, NEW.customer, ", old="OLD.headline, OLD.customer, "
)
BEFORE = FILL.format(more="", new="", old="")
TEXTS = {"headline": 300, "detail": 500, "action": 200, "currency": 8, "customer": 200, "risk": 60}
SORTED = ("action", "customer")


def _text(longest: int, **options: Any) -> Any:
    # With a default in the database, which processes of the version before need.
    return models.CharField(blank=True, db_default="", default="", max_length=longest, **options)


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0026_streams"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        *(
            migrations.AddField("approval", name, _text(longest, db_collation="C" if name in SORTED else None))
            for name, longest in TEXTS.items()
        ),
        migrations.AddField("approval", "amount", models.DecimalField(decimal_places=4, max_digits=20, null=True)),
        migrations.RunSQL(NOW, BEFORE),
        migrations.CreateModel(
            name="SavedView",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60)),
                ("query", models.CharField(max_length=600)),
                ("is_shared", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("owner", "name"), name="one_view_for_each_name")],
                "indexes": [models.Index(condition=models.Q(is_shared=True), fields=["name"], name="views_shared")],
            },
        ),
    ]
