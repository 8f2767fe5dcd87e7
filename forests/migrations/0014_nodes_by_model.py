from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0013_stop_reasons'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='nodes_by_model',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='tree',
            name='nodes_by_model',
            field=models.JSONField(default=dict),
        ),
    ]
