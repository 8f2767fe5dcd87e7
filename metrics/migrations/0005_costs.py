from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0004_samples_without_result'),
    ]

    operations = [
        migrations.AddField(
            model_name='metricrun',
            name='forest_cost',
            field=models.FloatField(null=True),
        ),
    ]
