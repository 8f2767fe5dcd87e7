from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0003_scorer_report'),
    ]

    operations = [
        migrations.AddField(
            model_name='metricrun',
            name='num_ungrouped',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='metricrun',
            name='num_uncompared',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='scorerreport',
            name='num_ungrouped',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='scorerreport',
            name='num_uncompared',
            field=models.IntegerField(default=0),
        ),
    ]
