"""Workers take inquiries from their table, when they are told of one, and no longer as jobs."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0020_append")]

    operations = [
        migrations.AddField("inquiry", "graph_id", models.CharField(blank=True, max_length=200)),
        migrations.AddField("inquiry", "taken_at", models.DateTimeField(null=True)),
    ]
