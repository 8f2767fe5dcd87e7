from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0010_thoughts'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='grown_by',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='forest',
            name='allowed_models',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='forest',
            name='max_cost',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='forest',
            name='price_in',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='forest',
            name='price_out',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='forest',
            name='stop_reason',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='forest',
            name='worker_message',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='forest',
            name='worker_message_at',
            field=models.DateTimeField(null=True),
        ),
    ]
