"""The model servers that the settings name."""

from collections.abc import Sequence

from django.conf import settings

from rollouts.client.server import ServerAddress


def policy_server(base_urls: Sequence[str] = ()) -> ServerAddress:
    """Return the servers of the policy: the forest's `base_urls` if it has any, else the settings'.

    Both use `OPENAI_API_KEY`: forests do not store keys.
    """
    if base_urls:
        source = "base_urls of the forest (configure_forest)"
        return ServerAddress(base_urls, settings.OPENAI_API_KEY, source)
    source, source_of_key = _settings_that_name_servers()
    return ServerAddress(
        [settings.OPENAI_BASE_URL],
        settings.OPENAI_API_KEY,
        source,
        source_of_key,
        described=settings.OPENAI_SERVERS,
    )


def scorer_server(base_url: str = "") -> ServerAddress:
    """Return the server of the reward model; without `SCORER_BASE_URL`, that of the policy.

    `base_url`: the address from the command line; the key still comes from the settings.
    """
    source = "--base_url" if base_url else "SCORER_BASE_URL"
    if address := settings.SCORER_BASE_URL:
        return ServerAddress(
            [base_url or address], settings.SCORER_API_KEY, source, "SCORER_API_KEY"
        )
    if base_url:
        return ServerAddress([base_url], settings.OPENAI_API_KEY, source)
    return policy_server()


def _settings_that_name_servers() -> tuple[str, str]:
    """Return the setting that names the policy's servers, and the one that holds their keys."""
    if settings.OPENAI_SERVERS_FILE:
        return "OPENAI_SERVERS_FILE", "OPENAI_SERVERS_FILE"
    if settings.OPENAI_BASE_URLS:
        has_several = bool(settings.OPENAI_API_KEYS)
        return "OPENAI_BASE_URLS", "OPENAI_API_KEYS" if has_several else "OPENAI_API_KEY"
    return "OPENAI_BASE_URL", "OPENAI_API_KEY"
