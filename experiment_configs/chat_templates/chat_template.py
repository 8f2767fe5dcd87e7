"""Render a model's own chat template, so that messages can be continued over completions.

Over the chat endpoint the server renders the template, and servers differ in how they treat a
message that is to be continued. Over completions the rendered text is the prompt, and the model's
text follows it exactly, even inside a thought.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from common.child_process import ChildProcess
from common.text import describe, one_line
from experiment_configs.answers.extraction.thoughts import is_thinking, opens_with_thought
from experiment_configs.interfaces import ConfigError

PROCESSOR_SECONDS = 5.0
"""Processor time of one rendering. Templates of real models need a thousandth of it."""
WALL_SECONDS = 90.0
MAX_TEMPLATE_CHARACTERS = 1_000_000

_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_CONFIG_FILE = "tokenizer_config.json"
_TOKENS_FILE = "special_tokens_map.json"
_TOKENIZER_FILE = "tokenizer.json"
_FILES = [*_TEMPLATE_FILES, _CONFIG_FILE, _TOKENS_FILE, _TOKENIZER_FILE]

_child = ChildProcess(Path(__file__).with_name("template_process.py"), str(PROCESSOR_SECONDS))


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a model. Files are read when the first prompt is rendered."""

    place: str | Path
    """A directory with the model's tokenizer files, a single template (`.jinja`), or a hub name."""
    name: str = "default"
    """Name of the template, if the model has several."""
    revision: str | None = None
    """Commit of the hub repository; None: the newest."""
    keeps_bos: bool = False
    """Whether the prompt keeps the beginning-of-text token if the tokenizer adds it too.

    For servers that are told not to add it (`extra_body={"add_special_tokens": False}` with vLLM).
    """

    def render(self, messages: Sequence[Mapping[str, Any]], **variables: Any) -> str:
        """Return the prompt after which the model writes its answer to these messages.

        A last assistant message is the beginning of the answer. The prompt ends with it exactly as
        given, whatever the template would do to it. `variables` are the template's own, such as
        `enable_thinking=False`.

        The beginning-of-text token is left out if the tokenizer adds it to every prompt: with
        completions servers the model would see it twice.

        Raises:
            ConfigError: the template does not exist, refuses the messages, or needs more time
                or memory than a template may take.
        """
        *before, last = [dict(message) for message in messages] or [{}]
        begun = str(last.get("content", "")) if last.get("role") == "assistant" else ""
        asked = before if last.get("role") == "assistant" else [*before, last]
        prompt = self._rendered(asked, variables)
        if begun and is_thinking(prompt) and opens_with_thought(begun):
            raise ConfigError(
                f"the chat template of {self.place} opens the thought itself: begin the last "
                "message after its opening tag"
            )
        bos = self._tokens.get("bos_token", "")
        if bos and self.adds_bos and not self.keeps_bos:
            prompt = prompt.removeprefix(bos)
        return prompt + begun

    @cached_property
    def source(self) -> str:
        """The template as its author wrote it.

        Raises:
            ConfigError: the model has none, or none with this name.
        """
        found = self._templates()
        if len(found) == 1 and self.name == "default":
            return next(iter(found.values()))
        if self.name not in found:
            known = f": it has {', '.join(found)}" if found else ""
            raise ConfigError(
                f"{self.place} has no chat template{f' named {self.name!r}' if found else ''}"
                f"{known or '; a base model has none, so write its prompt as a text'}"
            )
        return found[self.name]

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts the beginning-of-text token before every prompt."""
        bos = self._tokens.get("bos_token", "")
        told = self._config.get("add_bos_token")
        if not bos or isinstance(told, bool):
            return bool(bos and told)
        return bos in _first_tokens(self._json(_TOKENIZER_FILE).get("post_processor"))

    def _rendered(self, messages: list[dict[str, Any]], variables: Mapping[str, Any]) -> str:
        given = {"tools": None, "documents": None, "add_generation_prompt": True}
        question = [self.source, {**self._tokens, **given, **variables, "messages": messages}]
        try:
            reply = _child.ask(question, WALL_SECONDS)
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"messages and variables of a chat template must be JSON: {describe(error)}"
            ) from error
        if reply is None:
            raise ConfigError(
                f"the chat template of {self.place} needs more than {PROCESSOR_SECONDS:g} seconds, "
                "or too much memory: no model's own template does"
            )
        if "problem" in reply:
            problem = one_line(reply["problem"])
            raise ConfigError(f"the chat template of {self.place} {problem}")
        return str(reply["text"])

    def _templates(self) -> dict[str, str]:
        """Return all templates by name; a separate file overrides the tokenizer's settings."""
        for name in _TEMPLATE_FILES:
            if (text := self._text(name)) is not None:
                found = text if name.endswith(".jinja") else self._parsed(name, text)
                if isinstance(found, dict):
                    found = found.get("chat_template")
                if found is not None:
                    return self._named(found)
        return self._named(self._config.get("chat_template"))

    def _named(self, found: object) -> dict[str, str]:
        if found is None:
            return {}
        if isinstance(found, str):
            found = [{"name": "default", "template": found}]
        try:
            named = {str(one["name"]): str(one["template"]) for one in found}  # type: ignore[attr-defined]
        except (TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.place}: chat_template is neither a text nor a list"
            ) from error
        if any(len(text) > MAX_TEMPLATE_CHARACTERS for text in named.values()):
            raise ConfigError(
                f"a chat template of {self.place} has more than {MAX_TEMPLATE_CHARACTERS:,} "
                "characters: no model's own does"
            )
        return named

    @cached_property
    def _config(self) -> dict[str, Any]:
        return self._json(_CONFIG_FILE)

    @cached_property
    def _tokens(self) -> dict[str, str]:
        """Return the special tokens that templates may use, such as `bos_token`."""
        given = {**self._json(_TOKENS_FILE), **self._config}
        tokens = {}
        for name, value in given.items():
            token = value.get("content") if isinstance(value, dict) else value
            if name.endswith("_token") and isinstance(token, str):
                tokens[name] = token
        return tokens

    def _json(self, name: str) -> dict[str, Any]:
        text = self._text(name)
        found = {} if text is None else self._parsed(name, text)
        if not isinstance(found, dict):
            raise ConfigError(f"{name} of {self.place} is not a JSON object")
        return found

    def _parsed(self, name: str, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{name} of {self.place} is not JSON: {describe(error)}") from error

    def _text(self, name: str) -> str | None:
        """Return the text of a model file; None if there is none with this name."""
        try:
            path = self._file(name)
            return path.read_text(encoding="utf-8") if path else None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{name} of {self.place} cannot be read: {describe(error)}"
            ) from error

    def _file(self, name: str) -> Path | None:
        found = self._directory / name
        if self._directory.is_file():
            return self._directory if name == _TEMPLATE_FILES[0] else None
        return found if found.is_file() else None

    @cached_property
    def _directory(self) -> Path:
        """Return the directory of the files: the given one, or a download from the hub (cached)."""
        given = Path(self.place).expanduser()
        if str(self.place) and given.exists():
            return given
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(self.place)) or str(self.place)[0] in ".~":
            raise ConfigError(f"no chat template {str(self.place)!r}: there is no such directory")
        # Every command imports this module but few need the hub, whose import takes 0.2 s.
        from huggingface_hub import snapshot_download  # noqa: PLC0415

        try:
            return Path(
                snapshot_download(str(self.place), revision=self.revision, allow_patterns=_FILES)
            )
        except Exception as error:
            raise ConfigError(
                f"no chat template {str(self.place)!r}: it is not a directory here, and the hub "
                f"does not have it ({type(error).__name__}); check the name and the network, or "
                f"give a directory with {_CONFIG_FILE}"
            ) from error


def _first_tokens(post_processor: object) -> set[str]:
    """Return the tokens that a tokenizer's post-processor puts before a single text."""
    if not isinstance(post_processor, dict):
        return set()
    found: set[str] = set()
    for part in post_processor.get("processors") or ():
        found |= _first_tokens(part)
    single = post_processor.get("single") or ()
    for piece in single:
        token = piece.get("SpecialToken")
        if token is None:
            break
        found.add(str(token.get("id")))
    return found
