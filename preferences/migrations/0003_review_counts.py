from collections import Counter

from django.db import migrations, models


def count(apps, schema_editor):
    """Give reviews the key of their tree, and count them in their sets."""
    counts = Counter()
    for review in apps.get_model('preferences', 'Review').objects.all():
        review.tree_key = review.id.rpartition('/')[0]
        review.save()
        counts[review.preference_set_id, review.state] += 1
    for one in apps.get_model('preferences', 'PreferenceSet').objects.all():
        one.num_accepted, one.num_rejected = counts[one.id, 'accepted'], counts[one.id, 'rejected']
        one.save()


class Migration(migrations.Migration):

    dependencies = [
        ('preferences', '0002_review'),
    ]

    operations = [
        migrations.AddField(
            model_name='preferenceset',
            name='num_accepted',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='preferenceset',
            name='num_rejected',
            field=models.IntegerField(default=0),
        ),
        migrations.AddField(
            model_name='review',
            name='tree_key',
            field=models.CharField(default='', max_length=270),
        ),
        migrations.AddIndex(
            model_name='review',
            index=models.Index(fields=['tree_key'], name='review_tree'),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
