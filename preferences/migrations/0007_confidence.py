from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('preferences', '0006_writer'),
    ]

    operations = [
        migrations.AddField(
            model_name='preference',
            name='confidence',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='preferenceset',
            name='prior',
            field=models.JSONField(null=True),
        ),
        migrations.AddField(
            model_name='preferenceset',
            name='num_trees_in_prior',
            field=models.IntegerField(default=0),
        ),
    ]
