from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0023_changed_scores'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='cached_tokens',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='tree',
            name='cached_tokens',
            field=models.BigIntegerField(default=0),
        ),
    ]
