"""Rendering of all step texts of one page, within one time budget."""

import re
import time

from django.utils.safestring import SafeString

from forests.markup.rendering import excerpt, highlighted, render_markdown, render_raw

MAX_STEP_LENGTH = 2000
"""Most characters of a step on the page of its tree; the rest is loaded on demand."""
MAX_SECONDS = 1.0
"""Processor time that a page spends on Markdown; later steps are shown as raw text."""
_PREVIEW_LENGTH = 90


class StepTexts:
    """Renders steps, as Markdown or raw, and marks what a search found."""

    def __init__(self, *, is_raw: bool, pattern: re.Pattern[str] | None) -> None:
        self.is_raw = is_raw
        self.pattern = pattern
        self._seconds_left = MAX_SECONDS

    @property
    def is_spent(self) -> bool:
        """Whether the time budget is used up, so that further steps are raw."""
        return self._seconds_left <= 0

    def body(self, text: str, *, is_hit: bool) -> SafeString:
        """Return the first `MAX_STEP_LENGTH` characters of a step as HTML."""
        shown = text[:MAX_STEP_LENGTH]
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
