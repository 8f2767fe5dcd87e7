from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0005_models_and_items'),
    ]

    operations = [
        migrations.AddField(
            model_name='metricrun',
            name='forest_cost',
            field=models.FloatField(null=True),
        ),
    ]
