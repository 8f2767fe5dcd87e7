from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0016_model_servers'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='replaced_settings',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='forest',
            name='extended_at',
            field=models.DateTimeField(null=True),
        ),
        # There may be millions of nodes, and a missing field already reads as 0.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name='node',
                    name='numbered_to',
                    field=models.IntegerField(default=0),
                ),
            ],
        ),
    ]
