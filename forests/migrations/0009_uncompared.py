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
        # There may be millions of nodes, and a missing field already reads as None.
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
