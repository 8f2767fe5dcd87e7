"""What a page must never do: run what others wrote, or load from elsewhere."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Dialog, Page, Request, WebError

ONLY_THIS_MACHINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
"""Argument of Chromium that lets no request leave this machine.

Stopping requests one by one would cost each page its cache, and as much time as the page itself.
"""


class Watch:
    """Notes what the pages of a browser context must not do, such as requests outside the site."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.problems: list[str] = []
        self.expected: list[str] = []
        """Parts of messages that a test causes itself, such as a page that is not found."""
        self._origin = origin
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)

    def no_other_page(self, page: Page) -> None:
        """Note every window that is opened from now on."""
        page.on("popup", lambda popup: self._note(f"opened {popup.url}"))

    def _request(self, request: Request) -> None:
        if not request.url.startswith(f"{self._origin}/"):
            self._note(f"asked for {request.url}")

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(f"{message.type}: {message.text}")

    def _error(self, error: WebError) -> None:
        self._note(f"exception: {error.error.message}")

    def _dialog(self, dialog: Dialog) -> None:
        self._note(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, problem: str) -> None:
        if not any(part in problem for part in self.expected):
            self.problems.append(problem[:500])
