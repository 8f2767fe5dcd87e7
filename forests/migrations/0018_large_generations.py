from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0017_extending'),
    ]

    operations = [
        # Documents hold numbers of any size, so nothing changes in the database.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name=model,
                    name=name,
                    field=models.BigIntegerField(default=0),
                )
                for model, name in (
                    ('tree', 'generation'),
                    ('tree', 'oldest_generation'),
                    ('node', 'generation'),
                )
            ],
        ),
    ]
