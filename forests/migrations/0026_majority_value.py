from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0025_kept_tokens'),
    ]

    operations = [
        migrations.AddField(
            model_name='tree',
            name='majority_value',
            field=models.FloatField(null=True),
        ),
    ]
