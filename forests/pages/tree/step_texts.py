"""The texts of the steps of one page, rendered in bounded time for all of them together."""

import re
import time

from django.utils.safestring import SafeString

from forests.markup.rendering import excerpt, highlighted, render_markdown, render_raw

MAX_STEP_LENGTH = 2000
"""Characters of a step on the page of its tree; the rest is loaded on demand."""
MAX_SECONDS = 1.0
"""Processor time that a page spends on Markdown; what comes later is shown as written."""
_PREVIEW_LENGTH = 90


class StepTexts:
    """Renders steps: as Markdown or raw, with what was searched for marked."""

    def __init__(self, *, is_raw: bool, pattern: re.Pattern[str] | None) -> None:
        self.is_raw = is_raw
        self.pattern = pattern
        self._seconds_left = MAX_SECONDS

    @property
    def is_spent(self) -> bool:
        """Whether some texts are raw because reading all of them as Markdown takes too long."""
        return self._seconds_left <= 0

    def body(self, text: str, *, is_hit: bool) -> SafeString:
        """Return the beginning of a step, see `MAX_STEP_LENGTH`."""
        shown = text[:MAX_STEP_LENGTH]
        if self.is_raw or self.is_spent:
            html = render_raw(shown)
        else:
            began = time.thread_time()
            html = render_markdown(shown)
            self._seconds_left -= time.thread_time() - began
        return highlighted(html, self.pattern) if self.pattern and is_hit else html

    def preview(self, text: str, *, is_hit: bool) -> SafeString:
        """Return a step on one short line."""
        return excerpt(text, _PREVIEW_LENGTH, self.pattern if is_hit else None)
