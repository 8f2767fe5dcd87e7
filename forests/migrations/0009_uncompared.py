from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0008_questions_and_node_limit'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='num_uncompared',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='tree',
            name='num_uncompared',
            field=models.IntegerField(default=0),
        ),
        # Nodes may be millions, and a missing field reads as None already.
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AddField(
                    model_name='node',
                    name='voted_answer',
                    field=models.TextField(null=True),
                ),
            ],
        ),
    ]
