"""What names of models tell: whether a server has a model, and whether two names mean one."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase

_MAX_SHOWN = 5
_DATE = r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4})"


def may_have(model: str, listed: Sequence[str]) -> bool:
    """Return whether it is worth asking for a model.

    `llama3` means `llama3:latest` (Ollama); a variant such as `:nitro` (OpenRouter) is of a model
    that is listed without it; a listed `vendor/*` (LiteLLM) stands for all names of that form.
    """
    return not listed or is_listed(model, listed) or ":" in model


def is_listed(model: str, listed: Sequence[str]) -> bool:
    """Return whether a list of models has a model: by its name, or in one of the forms above."""
    known = (model, f"{model}:latest", *([model.rpartition(":")[0]] if ":" in model else []))
    if any(name in listed for name in known):
        return True
    return any("*" in name and fnmatchcase(model, name) for name in listed)


def is_same_model(asked: str, answered: str) -> bool:
    """Return whether an answer to one name may have the other: a path, or a dated version."""
    one, other = _bare(asked), _bare(answered)
    return one == other or bool(re.fullmatch(re.escape(one) + _DATE, other))


def _bare(name: str) -> str:
    """Return a name without the path to it, and without endings that say nothing of the model."""
    return name.lower().rpartition("/")[2].removesuffix(".gguf").removesuffix(":latest")


def shown_names(model: str, listed: Sequence[str]) -> str:
    """Return a few of the listed names, those most like `model` first, and how many there are."""
    if len(listed) <= _MAX_SHOWN:
        return ", ".join(listed)
    like = get_close_matches(model, listed, _MAX_SHOWN, cutoff=0.4)
    shown = [*like, *(name for name in listed if name not in like)][:_MAX_SHOWN]
    return f"{', '.join(shown)} and {len(listed) - len(shown)} more"
