from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0022_refined_steps'),
    ]

    operations = [
        migrations.AddField(
            model_name='scorer',
            name='changed_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='treelabels',
            name='blind',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='treelabels',
            name='is_whole',
            field=models.BooleanField(default=False),
        ),
    ]
