from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0009_uncompared'),
    ]

    operations = [
        # There may be millions of nodes, and a missing field already reads as no thought.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name='node',
                    name='is_thought',
                    field=models.BooleanField(default=False),
                ),
            ],
        ),
    ]
