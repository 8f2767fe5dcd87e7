from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('metrics', '0006_costs'),
    ]

    operations = [
        migrations.AlterField(
            model_name='scorerreport',
            name='id',
            field=models.CharField(db_column='_id', max_length=400, primary_key=True, serialize=False),
        ),
    ]
