"""Rendering of all step texts of one page, within one time budget."""

import re
import time

from django.utils.safestring import SafeString

from forests.markup.rendering import (
    MAX_SHOWN_LENGTH,
    excerpt,
    highlighted,
    render_markdown,
    render_raw,
)

MAX_STEP_LENGTH = 2000
"""Most characters of a step on the page of its tree; the rest is loaded on demand."""
MAX_SECONDS = 1.0
"""Processor time that a page spends on Markdown; later steps are shown as raw text."""
_PREVIEW_LENGTH = 90


class StepTexts:
    """Renders steps, as Markdown or raw, and marks what a search found."""

    def __init__(
        self,
        *,
        is_raw: bool,
        pattern: re.Pattern[str] | None,
        is_saved: bool = False,
        seconds: float | None = None,
    ) -> None:
        """Prepare for one page.

        Args:
            is_raw: whether to show texts as they were written.
            pattern: what a search looks for.
            is_saved: whether the rest of a long step cannot be loaded later.
            seconds: processor time for Markdown; None: `MAX_SECONDS`.
        """
        self.is_raw = is_raw
        self.pattern = pattern
        self.max_length = MAX_SHOWN_LENGTH if is_saved else MAX_STEP_LENGTH
        self._seconds_left = MAX_SECONDS if seconds is None else seconds

    @property
    def is_spent(self) -> bool:
        """Whether the time budget is used up, so that further steps are raw."""
        return self._seconds_left <= 0

    def body(self, text: str, *, is_hit: bool) -> SafeString:
        """Return the first `max_length` characters of a step as HTML."""
        shown = text[: self.max_length]
        if self.is_raw or self.is_spent:
            html = render_raw(shown)
        else:
            began = time.thread_time()
            html = render_markdown(shown)
            self._seconds_left -= time.thread_time() - began
        return highlighted(html, self.pattern) if self.pattern and is_hit else html

    def preview(self, text: str, *, is_hit: bool) -> SafeString:
        """Return the beginning of a step as one short line of HTML."""
        return excerpt(text, _PREVIEW_LENGTH, self.pattern if is_hit else None)
