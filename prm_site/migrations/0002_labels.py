"""Permissions to label steps, for the groups that exist."""

from importlib import import_module

from django.db import migrations

from prm_site.access.roles import ROLES

ADDED = {"forests.view_treelabels", "forests.label_step", "forests.decide_label"}


def add_permissions(apps, schema_editor):
    import_module("prm_site.migrations.0001_roles").make_permissions(apps, {"forests"})
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    found = {f"forests.{one.codename}": one for one in permissions.objects.all()}
    for role, names in ROLES.items():
        for group in groups.objects.filter(name=role):
            group.permissions.add(*(found[name] for name in sorted(names & ADDED)))


class Migration(migrations.Migration):
    dependencies = [("prm_site", "0001_roles"), ("forests", "0021_labels")]

    operations = [migrations.RunPython(add_permissions, migrations.RunPython.noop)]
