import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0020_judges'),
    ]

    operations = [
        migrations.AddField(
            model_name='treescores',
            name='revision',
            field=models.BigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='tree',
            name='disagreement',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='tree',
            name='disagreements',
            field=models.JSONField(default=list),
        ),
        migrations.AddIndex(
            model_name='tree',
            index=models.Index(fields=['forest', 'disagreement'], name='tree_disagreement'),
        ),
        migrations.CreateModel(
            name='TreeLabels',
            fields=[
                ('id', models.CharField(db_column='_id', max_length=620, primary_key=True, serialize=False)),
                ('person', models.CharField(blank=True, max_length=150)),
                ('verdicts', models.JSONField(default=dict)),
                ('notes', models.JSONField(default=dict)),
                ('revision', models.BigIntegerField(default=0)),
                ('changed_at', models.DateTimeField()),
                ('forest', models.ForeignKey(on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='forests.forest')),
                ('tree', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='forests.tree')),
            ],
            options={
                'verbose_name_plural': 'tree labels',
                'permissions': [('label_step', 'Can say whether steps are right'), ('decide_label', 'Can decide where people disagree about steps')],
                'indexes': [models.Index(fields=['tree'], name='labels_tree')],
            },
        ),
    ]
