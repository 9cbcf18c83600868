"""The ids of a graph's nodes, beside its card, for lists that say which approvals name a node that is gone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("approvals", "0030_newest_votes")]

    operations = [
        migrations.AddField(
            "graph",
            "nodes",
            models.GeneratedField(
                db_persist=True,
                expression=models.Func("card", models.Value("$.nodes[*].id"), function="jsonb_path_query_array"),
                output_field=models.JSONField(),
            ),
        ),
    ]
