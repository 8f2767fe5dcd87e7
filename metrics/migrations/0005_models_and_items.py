from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0004_samples_without_result'),
    ]

    operations = [
        migrations.AddField(
            model_name='metricrun',
            name='items_sha256',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='metricrun',
            name='nodes_by_model',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='scorerreport',
            name='nodes_by_model',
            field=models.JSONField(default=dict),
        ),
    ]
