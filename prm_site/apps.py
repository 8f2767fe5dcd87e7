"""Apps of Django and libraries with MongoDB's primary keys: MongoDB has no AutoField."""

from axes.apps import AppConfig as AxesConfig
from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.contrib.auth.apps import AuthConfig
from django.contrib.contenttypes.apps import ContentTypesConfig
from django_rq.apps import DjangoRqAdminConfig

_OBJECT_ID = "django_mongodb_backend.fields.ObjectIdAutoField"


class MongoAdminConfig(AdminConfig):
    default_auto_field = _OBJECT_ID


class MongoAuthConfig(AuthConfig):
    default_auto_field = _OBJECT_ID


class MongoContentTypesConfig(ContentTypesConfig):
    default_auto_field = _OBJECT_ID


class MongoDjangoRqConfig(DjangoRqAdminConfig):
    default_auto_field = _OBJECT_ID


class MongoAxesConfig(AxesConfig):
    default_auto_field = _OBJECT_ID


class PrmSiteConfig(AppConfig):
    """The project itself as an app, for its commands and templates."""

    name = "prm_site"
