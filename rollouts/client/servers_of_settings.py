"""The model servers that the settings name."""

from collections.abc import Sequence

from django.conf import settings

from rollouts.client.server import ServerAddress


def policy_server(base_urls: Sequence[str] = ()) -> ServerAddress:
    """Return the servers of the policy: the forest's `base_urls` if it has any, else the settings'.

    Both use `OPENAI_API_KEY`: forests do not store keys.
    """
    if base_urls:
        return ServerAddress(base_urls, settings.OPENAI_API_KEY, is_of_forest=True)
    return ServerAddress(
        [settings.OPENAI_BASE_URL], settings.OPENAI_API_KEY, described=settings.OPENAI_SERVERS
    )


def scorer_server() -> ServerAddress:
    """Return the server of the reward model; without `SCORER_BASE_URL`, that of the policy."""
    if not settings.SCORER_BASE_URL:
        return policy_server()
    return ServerAddress([settings.SCORER_BASE_URL], settings.SCORER_API_KEY, settings="SCORER")
