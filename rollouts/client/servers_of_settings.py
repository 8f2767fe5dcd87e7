"""Which model servers the settings name."""

from collections.abc import Sequence

from django.conf import settings

from rollouts.client.server import ServerAddress


def policy_server(base_urls: Sequence[str] = ()) -> ServerAddress:
    """Return where the model is that grows forests: at the forest's addresses, where it has some.

    The key of such addresses is always that of the settings: forests hold none.
    """
    if base_urls:
        return ServerAddress(base_urls, settings.OPENAI_API_KEY, is_of_forest=True)
    return ServerAddress(
        [settings.OPENAI_BASE_URL], settings.OPENAI_API_KEY, described=settings.OPENAI_SERVERS
    )


def scorer_server() -> ServerAddress:
    """Return where the reward model is; without settings of its own, beside the policy."""
    if not settings.SCORER_BASE_URL:
        return policy_server()
    return ServerAddress([settings.SCORER_BASE_URL], settings.SCORER_API_KEY, settings="SCORER")
