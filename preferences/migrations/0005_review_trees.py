from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('preferences', '0004_lengths'),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name='review',
            name='review_state',
        ),
        migrations.AddIndex(
            model_name='review',
            index=models.Index(fields=['state_key', 'tree_index'], name='review_state_tree'),
        ),
    ]
