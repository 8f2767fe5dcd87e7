"""Settings from the environment and `.env`; `.env.example` explains each one."""

import re
from datetime import timedelta
from functools import partial
from pathlib import Path

from django.utils.functional import SimpleLazyObject

from common.places import HOME_DIR
from prm_site.configuration.environment import HTTP, MONGODB, REDIS, Environment, refuse
from prm_site.configuration.logs import FORMATS, logging_settings
from prm_site.configuration.model_prices import prices_of
from prm_site.configuration.model_servers import servers_of_file, servers_with_keys
from prm_site.configuration.mongodb import PAGE_READ_PREFERENCES, client_options, leave_out_gis
from prm_site.configuration.secret_key import read_or_create_secret_key
from prm_site.services.registry import running_addresses

BASE_DIR = HOME_DIR
PACKAGE_DIR = Path(__file__).resolve().parent
# In a checkout the templates are beside the packages; setup.py installs them inside this package.
TEMPLATES_DIR = next(
    folder / "templates"
    for folder in (PACKAGE_DIR, PACKAGE_DIR.parent)
    if (folder / "templates" / "base.html").is_file()
)

env = Environment()  # type: ignore[no-untyped-call]
if env_file := env.str("PRM_ENV_FILE", default=str(BASE_DIR / ".env")):
    env.read_env(env_file)

PRODUCTION = env.switch("PRM_PRODUCTION", default=False)
DEBUG = env.switch("PRM_DEBUG", default=False)
PUBLIC = env.switch("PRM_PUBLIC", default=False)
DATA_DIR = (BASE_DIR / Path(env.str("PRM_DATA_DIR", default="data")).expanduser()).resolve()
CONFIG_PATH = [
    BASE_DIR / Path(p).expanduser() for p in env.str("PRM_CONFIG_PATH", default="").split(":") if p
]

if (engine := env.str("DATABASE_ENGINE", default="django_mongodb_backend")) != (
    "django_mongodb_backend"
):
    refuse(
        f"DATABASE_ENGINE={engine} is not supported: remove it, the engine is "
        "django_mongodb_backend (see docs/decisions/001-database-engine.md)"
    )

# An unset address means the embedded service, if one is running.
_embedded = running_addresses(DATA_DIR)
MONGODB_URI = env.address("MONGODB_URI", MONGODB) or _embedded.get("mongodb", "")
REDIS_URL = env.address("REDIS_URL", REDIS) or _embedded.get("queue", "")
OPENAI_BASE_URLS = env.addresses("OPENAI_BASE_URLS", HTTP)
OPENAI_BASE_URL = env.address("OPENAI_BASE_URL", HTTP)
OPENAI_SERVERS_FILE: str = env.str("OPENAI_SERVERS_FILE", default="")
OPENAI_API_KEY: str = env.str("OPENAI_API_KEY", default="")
OPENAI_API_KEYS = env.words("OPENAI_API_KEYS")
if OPENAI_BASE_URL and OPENAI_BASE_URLS:
    refuse("OPENAI_BASE_URL and OPENAI_BASE_URLS are both set: set one of them")
if OPENAI_SERVERS_FILE and (OPENAI_BASE_URL or OPENAI_BASE_URLS):
    name = "OPENAI_BASE_URL" if OPENAI_BASE_URL else "OPENAI_BASE_URLS"
    refuse(f"{name} and OPENAI_SERVERS_FILE are both set: set one of them")
# Servers with their own keys; empty if OPENAI_BASE_URL and OPENAI_API_KEY are enough.
OPENAI_SERVERS = (
    servers_of_file(OPENAI_SERVERS_FILE)
    if OPENAI_SERVERS_FILE
    else servers_with_keys(OPENAI_BASE_URLS, OPENAI_API_KEYS, OPENAI_API_KEY)
)
OPENAI_BASE_URL = OPENAI_BASE_URL or next(
    (server.base_url for server in OPENAI_SERVERS), _embedded.get("model", "")
)
# How long growth waits for model servers that are busy or down; 0 waits forever.
BACKEND_WAIT_SECONDS = env.number("PRM_BACKEND_WAIT_SECONDS", default=600)
# Prices of models, and their currency.
PRICES = prices_of(env.str("PRM_PRICES", default="").strip())
CURRENCY: str = env.str("PRM_CURRENCY", default="") or "$"
SCORER_BASE_URL = env.address("SCORER_BASE_URL", HTTP)
SCORER_API_KEY: str = env.str("SCORER_API_KEY", default="")

if PRODUCTION:
    for name in (
        "PRM_SECRET_KEY", "PRM_ALLOWED_HOSTS", "MONGODB_URI", "REDIS_URL", "OPENAI_BASE_URL",
    ):  # fmt: skip
        if name == "OPENAI_BASE_URL" and OPENAI_SERVERS:
            continue
        if not env.str(name, default=""):
            refuse(f"{name} is not set, but PRM_PRODUCTION=1 needs it: add it to .env")
    if DEBUG:
        refuse("PRM_DEBUG=1 shows secrets to visitors: unset it, or unset PRM_PRODUCTION")

# Created only when used: `prm COMMAND --help` must not write into the current directory.
SECRET_KEY = env.str("PRM_SECRET_KEY", default="") or SimpleLazyObject(
    partial(read_or_create_secret_key, DATA_DIR)
)
ALLOWED_HOSTS = env.words("PRM_ALLOWED_HOSTS") or ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = env.words("PRM_CSRF_TRUSTED_ORIGINS")
URL_PREFIX: str = env.str("PRM_URL_PREFIX", default="").strip().rstrip("/")
if URL_PREFIX and not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+", URL_PREFIX):
    refuse(f"PRM_URL_PREFIX={URL_PREFIX} is not a path such as /prm")
FORCE_SCRIPT_NAME = URL_PREFIX or None
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = f"{URL_PREFIX}/"

INSTALLED_APPS = [
    "prm_site.apps.PrmSiteConfig",
    "prm_site.apps.MongoAdminConfig",
    "prm_site.apps.MongoAuthConfig",
    "prm_site.apps.MongoContentTypesConfig",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "prm_site.apps.MongoDjangoRqConfig",
    "prm_site.apps.MongoAxesConfig",
    "django_htmx",
    "forests",
    "rollouts",
    "metrics",
    "preferences",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "prm_site.access.middleware.JsonErrorsMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "prm_site.access.middleware.LoginUnlessPublicMiddleware",
    "prm_site.access.middleware.ContentSecurityPolicyMiddleware",
    "prm_site.access.middleware.NotStoredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "prm_site.access.middleware.UnavailableMiddleware",
    "prm_site.access.staff_pages.StaffPagesMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "prm_site.urls"
WSGI_APPLICATION = "prm_site.wsgi.application"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: it refuses after too many failures
    "prm_site.access.permissions.FlatModelBackend",
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "forests"
LOGOUT_REDIRECT_URL = "login"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TEMPLATES_DIR],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["forests.templatetags.program"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

leave_out_gis()
DATABASES = {
    "default": {
        "ENGINE": "django_mongodb_backend",
        "HOST": MONGODB_URI or "mongodb://127.0.0.1:27017",
        "NAME": env.str("PRM_DATABASE_NAME", default="prm_site"),
        "OPTIONS": client_options(
            MONGODB_URI,
            timeout_seconds=env.number("PRM_MONGODB_TIMEOUT_SECONDS", default=5),
            write_timeout_seconds=env.number("PRM_MONGODB_WRITE_TIMEOUT_SECONDS", default=30),
            max_pool_size=env.number("PRM_MONGODB_POOL_SIZE", default=8),
        ),
    },
}
# Only for the site, which sets it in prm_site/wsgi.py: workers must read what they wrote.
PAGE_READ_PREFERENCE = env.choice(
    "PRM_MONGODB_READ_PREFERENCE", PAGE_READ_PREFERENCES, default="primary"
)
DATABASE_ROUTERS = ["prm_site.routers.LoginAttemptsRouter"]
DEFAULT_AUTO_FIELD = "django_mongodb_backend.fields.ObjectIdAutoField"
MIGRATION_MODULES = {
    "admin": "prm_site.mongo_migrations.admin",
    "auth": "prm_site.mongo_migrations.auth",
    "axes": None,
    "contenttypes": "prm_site.mongo_migrations.contenttypes",
    "django_rq": "prm_site.mongo_migrations.django_rq",
}

ROLLOUT_QUEUE = "rollouts"
_queue_server = REDIS_URL or "redis://127.0.0.1:6379"
RQ_QUEUES = {
    ROLLOUT_QUEUE: {
        "URL": _queue_server,
        "DEFAULT_TIMEOUT": -1,  # a job ends when its trees are grown; leases guard against hangs
        "SERIALIZER": "rq.serializers.JSONSerializer",
    },
}
# "auto" enqueues at once: there is no MongoDB transaction to wait for.
RQ = {
    "COMMIT_MODE": "auto",
    "WORKER_CLASS": "rollouts.workers.rq_worker.RolloutWorker",
}

RQ_SHOW_ADMIN_LINK = False  # the site has its own page of the queue

# All processes of the site must see the count of failed logins, so keep it in Redis.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": _queue_server,
        "KEY_PREFIX": "prm_site",
        "OPTIONS": {
            "serializer": "prm_site.access.login_attempts.CountSerializer",
            "socket_connect_timeout": 2,
            "socket_timeout": 2,
        },
    },
}
AXES_HANDLER = "prm_site.access.login_attempts.AttemptHandler"
AXES_LOCKOUT_PARAMETERS = ["ip_address", "username"]
AXES_FAILURE_LIMIT = env.number("PRM_LOGIN_FAILURES", default=10, least=1)
AXES_COOLOFF_TIME = timedelta(minutes=env.number("PRM_LOGIN_WAIT_MINUTES", default=15, least=1))
# Otherwise repeated attempts would extend the lockout of other users.
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_RESET_ON_SUCCESS = False  # AttemptHandler resets, for the name only
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_CLIENT_IP_CALLABLE = "prm_site.access.login_attempts.client_address"
AXES_USERNAME_CALLABLE = "prm_site.access.login_attempts.attempted_name"
AXES_CLIENT_STR_CALLABLE = "prm_site.access.login_attempts.who_tried"
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
# Production mode expects a proxy, because it trusts the proxy's header for HTTPS.
PROXY_COUNT = env.number("PRM_PROXY_COUNT", default=1 if PRODUCTION else 0)

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

USE_TZ = True
TIME_ZONE = "UTC"
USE_I18N = False

STATIC_URL = f"{URL_PREFIX}/static/"
# In production `collectstatic` fills it. In development files are served from their own folders.
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else None
STATICFILES_DIRS = [PACKAGE_DIR / "static"]
WHITENOISE_USE_FINDERS = not PRODUCTION

X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = env.switch("PRM_SSL_REDIRECT", default=True)
    SECURE_HSTS_SECONDS = env.number("PRM_HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = env.switch("PRM_HSTS_SUBDOMAINS", default=False)
    SECURE_HSTS_PRELOAD = env.switch("PRM_HSTS_PRELOAD", default=False)
    if SECURE_HSTS_PRELOAD and not SECURE_HSTS_INCLUDE_SUBDOMAINS:
        refuse("PRM_HSTS_PRELOAD=1 needs PRM_HSTS_SUBDOMAINS=1: browsers preload whole domains")
    # The owner of the domain decides about subdomains and preload lists.
    SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }

LOGGING = logging_settings(
    level=env.log_level("PRM_LOG_LEVEL", default="WARNING"),
    log_format=env.choice("PRM_LOG_FORMAT", FORMATS, default="line"),
)
# Prometheus sends this token to read /metrics. Without one, only readers of the pages may read it.
METRICS_TOKEN: str = env.str("PRM_METRICS_TOKEN", default="")
