from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0024_cached_tokens'),
    ]

    operations = [
        # Only forests that keep tokens have the field, so nothing changes in the database.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name=model,
                    name='kept_tokens',
                    field=models.BinaryField(null=True),
                )
                for model in ('tree', 'node')
            ],
        ),
    ]
