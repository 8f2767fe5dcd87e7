from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0009_uncompared'),
    ]

    operations = [
        # Nodes may be millions, and a missing field reads as no thought already.
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
