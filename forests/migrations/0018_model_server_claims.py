from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0017_extending'),
    ]

    operations = [
        migrations.AddField(
            model_name='modelserver',
            name='claimed_until',
            field=models.DateTimeField(null=True),
        ),
    ]
