from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0011_models_and_budgets'),
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
