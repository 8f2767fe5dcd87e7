"""The site as a WSGI application: `granian --interface wsgi prm_site.wsgi:application`."""

import os

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from prm_site.configuration.mongodb import use_read_preference
from prm_site.configuration.url_prefix import under_prefix

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")

use_read_preference(settings.PAGE_READ_PREFERENCE)
application = under_prefix(get_wsgi_application(), settings.URL_PREFIX)
