from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0006_importer'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='import_sha256',
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
