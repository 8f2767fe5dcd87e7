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
        # Nodes may be millions, and a missing field reads as 0 already.
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
