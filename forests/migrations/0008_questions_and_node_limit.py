from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0007_import_sha256'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='num_hit_max_nodes',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='tree',
            name='hit_max_nodes',
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name='tree',
            name='question',
            field=models.TextField(blank=True, default=''),
        ),
    ]
