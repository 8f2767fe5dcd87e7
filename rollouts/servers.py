"""Which model servers the settings name."""

from collections.abc import Sequence

from django.conf import settings

from rollouts.endpoints import ServerAddress


def policy_server(base_urls: Sequence[str] = ()) -> ServerAddress:
    """Return where the model is that grows forests: at the forest's addresses, where it has some.

    The key is always the settings': forests hold none.
    """
    addresses = base_urls or settings.OPENAI_BASE_URLS or [settings.OPENAI_BASE_URL]
    return ServerAddress(addresses, settings.OPENAI_API_KEY)


def scorer_server() -> ServerAddress:
    """Return where the reward model is; without settings of its own, beside the policy."""
    if not settings.SCORER_BASE_URL:
        return policy_server()
    return ServerAddress([settings.SCORER_BASE_URL], settings.SCORER_API_KEY, settings="SCORER")
