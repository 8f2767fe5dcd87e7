from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0014_nodes_by_model'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='ledger',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='forest',
            name='reservations',
            field=models.JSONField(default=dict),
        ),
    ]
