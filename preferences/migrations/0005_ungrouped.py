from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('preferences', '0004_lengths'),
    ]

    operations = [
        migrations.AddField(
            model_name='preferenceset',
            name='num_ungrouped',
            field=models.IntegerField(default=0),
        ),
    ]
