"""The audit log's first head, the triggers that keep entries as they are, and the roles."""

from typing import Any

from django.db import migrations

ROLES = ("viewer", "reviewer", "operator", "auditor", "admin")

# ENABLE ALWAYS: a plain trigger does not fire while session_replication_role is "replica".
PROTECT = """
CREATE FUNCTION countersign_refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log only grows: % is refused.', TG_OP;
END $$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON approvals_auditentry
    FOR EACH ROW EXECUTE FUNCTION countersign_refuse_audit_change();
CREATE TRIGGER audit_table_stays BEFORE TRUNCATE ON approvals_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION countersign_refuse_audit_change();
ALTER TABLE approvals_auditentry ENABLE ALWAYS TRIGGER audit_rows_stay;
ALTER TABLE approvals_auditentry ENABLE ALWAYS TRIGGER audit_table_stays;
"""
UNPROTECT = """
DROP TRIGGER audit_rows_stay ON approvals_auditentry;
DROP TRIGGER audit_table_stays ON approvals_auditentry;
DROP FUNCTION countersign_refuse_audit_change();
"""


def first_rows(apps: Any, schema_editor: Any) -> None:
    apps.get_model("approvals", "AuditHead").objects.create(id=1, seq=0, hash="0" * 64)
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.RunPython(first_rows, migrations.RunPython.noop),
        migrations.RunSQL(PROTECT, UNPROTECT),
    ]
