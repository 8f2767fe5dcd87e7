from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0015_ledgers'),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelServer',
            fields=[
                ('id', models.CharField(db_column='_id', max_length=64, primary_key=True, serialize=False)),
                ('server', models.TextField()),
                ('model', models.TextField()),
                ('api', models.CharField(max_length=20)),
                ('abilities', models.JSONField(default=dict)),
                ('probed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['id'],
            },
        ),
    ]
