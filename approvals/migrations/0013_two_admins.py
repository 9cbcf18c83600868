"""Changes that a second admin confirms, and the triggers that let nothing else through while the rule is on."""

import uuid
from typing import Any

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

PERSON = settings.AUTH_USER_MODEL

# Whatever asks - a page, a command, loaddata, a shell - passes here. A change that another admin confirmed names
# itself for its own transaction.
GUARD = """
CREATE FUNCTION countersign_need_two_admins() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM approvals_safeguard WHERE two_admins) AND NOT EXISTS (
        SELECT FROM approvals_change
        WHERE id::text = current_setting('countersign.change', true)
          AND status = 'confirmed' AND closed_by_id <> proposed_by_id
    ) THEN
        RAISE EXCEPTION 'The two-admin rule is on: a second admin must confirm this change (% of %).',
            TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF TG_LEVEL = 'STATEMENT' THEN
        RETURN NULL;
    END IF;
    RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
END $$;
"""
WHOLE = (
    "approvals_policy",
    "approvals_policy_people",
    "approvals_policy_groups",
    "approvals_policy_escalate_to",
    "auth_user_groups",
)
CALL = "EXECUTE FUNCTION countersign_need_two_admins()"
TRIGGERS = [
    *(
        trigger
        for table in WHOLE
        for trigger in (
            (table, "two_admins_rows", f"BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"),
            (table, "two_admins_all", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT"),
        )
    ),
    ("approvals_safeguard", "two_admins_rows", "BEFORE UPDATE OR DELETE ON approvals_safeguard FOR EACH ROW"),
    ("approvals_safeguard", "two_admins_all", "BEFORE TRUNCATE ON approvals_safeguard FOR EACH STATEMENT"),
    ("auth_user", "two_admins_new", "BEFORE INSERT ON auth_user FOR EACH ROW WHEN (NEW.is_superuser)"),
    ("auth_user", "two_admins_gone", "BEFORE DELETE ON auth_user FOR EACH ROW"),
    (
        "auth_user",
        "two_admins_rows",
        "BEFORE UPDATE ON auth_user FOR EACH ROW WHEN ((OLD.is_superuser, OLD.is_active, OLD.username)"
        " IS DISTINCT FROM (NEW.is_superuser, NEW.is_active, NEW.username))",
    ),
    ("auth_group", "two_admins_gone", "BEFORE DELETE ON auth_group FOR EACH ROW"),
    ("auth_group", "two_admins_rows", "BEFORE UPDATE ON auth_group FOR EACH ROW WHEN (OLD.name <> NEW.name)"),
]
GUARDS = GUARD + "".join(
    f"CREATE TRIGGER {name} {when} {CALL};\nALTER TABLE {table} ENABLE ALWAYS TRIGGER {name};\n"
    for table, name, when in TRIGGERS
)
UNGUARD = "DROP FUNCTION countersign_need_two_admins() CASCADE"


def first_row(apps: Any, schema_editor: Any) -> None:
    apps.get_model("approvals", "Safeguard").objects.create(id=1)


def person(**more: Any) -> Any:
    return models.ForeignKey(PERSON, on_delete=django.db.models.deletion.PROTECT, related_name="+", **more)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0012_marks_and_folds"), migrations.swappable_dependency(PERSON)]

    operations = [
        migrations.CreateModel(
            name="Safeguard",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("two_admins", models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name="Change",
            fields=[
                (
                    "id",
                    models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False),
                ),
                (
                    "kind",
                    models.CharField(
                        max_length=10,
                        choices=[
                            ("policy", "Policy"),
                            ("person", "Person"),
                            ("group", "Group"),
                            ("two_admins", "Two-admin rule"),
                        ],
                    ),
                ),
                ("target_id", models.BigIntegerField(null=True)),
                ("name", models.CharField(max_length=620)),
                ("before", models.JSONField(null=True)),
                ("after", models.JSONField(null=True)),
                (
                    "status",
                    models.CharField(
                        max_length=9,
                        default="open",
                        choices=[
                            ("open", "Waits for another admin"),
                            ("confirmed", "Confirmed"),
                            ("refused", "Refused"),
                            ("withdrawn", "Taken back"),
                        ],
                    ),
                ),
                ("proposed_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("closed_at", models.DateTimeField(null=True)),
                ("reason", models.TextField(blank=True)),
                ("proposed_by", person()),
                ("closed_by", person(null=True)),
            ],
            options={"indexes": [models.Index(fields=["-proposed_at"], name="changes_newest")]},
        ),
        migrations.RunPython(first_row, migrations.RunPython.noop),
        migrations.RunSQL(GUARDS, UNGUARD),
    ]
