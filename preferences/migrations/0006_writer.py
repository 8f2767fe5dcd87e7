from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('preferences', '0005_ungrouped'),
    ]

    operations = [
        migrations.AddField(
            model_name='preferenceset',
            name='writer',
            field=models.CharField(blank=True, default='', max_length=32),
            preserve_default=False,
        ),
    ]
