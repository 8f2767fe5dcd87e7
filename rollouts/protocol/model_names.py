"""Compare names of models: whether a server has a model, and whether two names mean the same."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

_MAX_SHOWN = 5
_DATE = r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})"


def may_have(model: str, listed: Sequence[str]) -> bool:
    """Return whether a server may have a model.

    `llama3` means `llama3:latest` (Ollama). A variant such as `:nitro` (OpenRouter) belongs to the
    model listed without it. A listed `vendor/*` (LiteLLM) matches all names of that form.
    """
    return not listed or is_listed(model, listed) or ":" in model


def is_listed(model: str, listed: Sequence[str]) -> bool:
    """Return whether a list has a model, by name or in one of the forms that `may_have` lists."""
    known = (model, f"{model}:latest", *([model.rpartition(":")[0]] if ":" in model else []))
    if any(name in listed for name in known):
        return True
    return any("*" in name and fnmatchcase(model, name) for name in listed)


def is_same_model(asked: str, answered: str) -> bool:
    """Return whether `answered` may name the asked model: as a path, or with a date."""
    one, other = _bare(asked), _bare(answered)
    return one == other or bool(re.fullmatch(re.escape(one) + _DATE, other))


def _bare(name: str) -> str:
    """Return a name without its path and without endings that do not identify the model."""
    return name.lower().rpartition("/")[2].removesuffix(".gguf").removesuffix(":latest")


def shown_names(model: str, listed: Sequence[str]) -> str:
    """Return up to five listed names, the most similar to `model` first, and how many remain."""
    if len(listed) <= _MAX_SHOWN:
        return ", ".join(listed)
    like = get_close_matches(model, listed, _MAX_SHOWN, cutoff=0.4)
    shown = [*like, *(name for name in listed if name not in like)][:_MAX_SHOWN]
    return f"{', '.join(shown)} and {len(listed) - len(shown)} more"
