from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0021_labels'),
    ]

    operations = [
        migrations.AddField(
            model_name='tree',
            name='refined_steps',
            field=models.JSONField(null=True),
        ),
    ]
