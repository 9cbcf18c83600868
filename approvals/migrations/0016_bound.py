from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0015_audit_rows")]

    operations = [
        migrations.AddField("approval", "bound", models.JSONField(null=True)),
        migrations.AddField("run", "bound", models.JSONField(null=True)),
    ]
