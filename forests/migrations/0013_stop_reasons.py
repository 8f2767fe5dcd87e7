from django.db import migrations, models

_STOPPED = "stopped"


def move_stop_reasons(apps, schema_editor):
    """Move the stop reason out of the backend message, where older versions wrote it."""
    forests = apps.get_model("forests", "Forest").objects
    for name, message in forests.values_list("name", "backend_message"):
        if message.startswith(_STOPPED):
            reason = message.removeprefix(_STOPPED).removeprefix(":").strip() or _STOPPED
            forests.filter(pk=name).update(stop_reason=reason, backend_message="")


class Migration(migrations.Migration):

    dependencies = [
        ('forests', '0012_generations'),
    ]

    operations = [
        migrations.AddField(
            model_name='forest',
            name='worked_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='tree',
            index=models.Index(fields=['status', 'lease_expires_at'], name='tree_status_lease'),
        ),
        migrations.RunPython(move_stop_reasons, migrations.RunPython.noop),
    ]
