from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0011_models_and_budgets'),
    ]

    operations = [
        # There may be millions of trees and nodes, and a missing field already reads as 0.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name='tree',
                    name='generation',
                    field=models.IntegerField(default=0),
                ),
                migrations.AddField(
                    model_name='tree',
                    name='oldest_generation',
                    field=models.IntegerField(default=0),
                ),
                migrations.AddField(
                    model_name='node',
                    name='generation',
                    field=models.IntegerField(default=0),
                ),
            ],
        ),
    ]
