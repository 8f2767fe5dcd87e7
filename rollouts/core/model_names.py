"""Whether a server has a model, as far as its list of models tells."""

from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

_MOST_SHOWN = 5


def may_have(model: str, listed: Sequence[str]) -> bool:
    """Return whether it is worth asking for a model.

    `llama3` means `llama3:latest` (Ollama); a variant such as `:nitro` (OpenRouter) is of a model
    that is listed without it; a listed `vendor/*` (LiteLLM) stands for all names of that form.
    """
    if not listed or model in listed or f"{model}:latest" in listed:
        return True
    return ":" in model or any("*" in name and fnmatchcase(model, name) for name in listed)


def shown_names(model: str, listed: Sequence[str]) -> str:
    """Return a few of the listed names, those most like `model` first, and how many there are."""
    if len(listed) <= _MOST_SHOWN:
        return ", ".join(listed)
    like = get_close_matches(model, listed, _MOST_SHOWN, cutoff=0.4)
    shown = [*like, *(name for name in listed if name not in like)][:_MOST_SHOWN]
    return f"{', '.join(shown)} and {len(listed) - len(shown)} more"
