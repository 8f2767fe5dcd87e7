"""Groups for the roles of a team. Operators may change them: no migration undoes that."""

from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import migrations

from prm_site.access.roles import ROLES


def make_permissions(apps, labels):
    """Make the permissions of these apps now: `migrate` makes them only after all migrations."""
    for label in sorted(labels):
        app = apps.get_app_config(label)
        app.models_module = True
        create_contenttypes(app, apps=apps, verbosity=0)
        create_permissions(app, apps=apps, verbosity=0)
        app.models_module = None


def make_groups(apps, schema_editor):
    make_permissions(apps, {name.partition(".")[0] for names in ROLES.values() for name in names})

    group_model, permission_model = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    content_types = apps.get_model("contenttypes", "ContentType").objects.values_list("pk", "app_label")
    app_of = dict(content_types)
    permissions = {f"{app_of[one.content_type_id]}.{one.codename}": one for one in permission_model.objects.all()}
    for role, names in ROLES.items():
        group, _ = group_model.objects.get_or_create(name=role)
        # Later migrations add the permissions of later models.
        group.permissions.add(*(permissions[name] for name in sorted(names) if name in permissions))


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0001_initial"),
        ("contenttypes", "0001_initial"),
        ("forests", "0004_scores"),
        ("metrics", "0003_scorer_report"),
        ("preferences", "0004_lengths"),
    ]

    operations = [migrations.RunPython(make_groups, migrations.RunPython.noop)]
