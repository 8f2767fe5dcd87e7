from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0019_model_server_claims'),
    ]

    operations = [
        migrations.AddField(
            model_name='scorer',
            name='kind',
            field=models.CharField(blank=True, default='', max_length=20),
        ),
        migrations.AddField(
            model_name='scorer',
            name='spent',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='treescores',
            name='rationales',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='treescores',
            name='votes',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='treescores',
            name='num_steps',
            field=models.IntegerField(default=0),
        ),
    ]
