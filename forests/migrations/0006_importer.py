from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0005_latencies'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='importer',
            field=models.CharField(blank=True, max_length=40),
        ),
    ]
