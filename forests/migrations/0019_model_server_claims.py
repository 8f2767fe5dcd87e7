from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0018_large_generations'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelserver',
            name='claimed_until',
            field=models.DateTimeField(null=True),
        ),
    ]
