"""The part of Markdown that a model's text is read as: no HTML, no links, no images.

A model's angle brackets are text, an address it made up is better read than followed, and the
patterns left out here are those whose time is more than linear in a hostile text.
"""

from markdown import Extension, Markdown

_LEFT_OUT_PATTERNS = (
    "reference", "link", "image_link", "image_reference", "short_reference", "short_image_ref",
    "autolink", "automail", "html", "entity",
)  # fmt: skip


class MarkdownSubset(Extension):
    """Take out of Python-Markdown what makes a link, loads an image or passes HTML through."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.preprocessors.deregister("html_block")
        md.parser.blockprocessors.deregister("reference")
        for name in _LEFT_OUT_PATTERNS:
            md.inlinePatterns.deregister(name)
