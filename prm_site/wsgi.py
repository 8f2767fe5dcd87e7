"""The site for a WSGI server: `granian --interface wsgi prm_site.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prm_site.settings")

application = get_wsgi_application()
