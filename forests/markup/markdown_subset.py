"""The subset of Markdown for a model's text: no HTML, no links, no images.

A model's angle brackets are text, and nobody should follow a URL that it made up. The patterns left
out also take more than linear time on a hostile text.
"""

from markdown import Extension, Markdown

_LEFT_OUT_PATTERNS = (
    "reference", "link", "image_link", "image_reference", "short_reference", "short_image_ref",
    "autolink", "automail", "html", "entity",
)  # fmt: skip


class MarkdownSubset(Extension):
    """Removes links, images and HTML from Python-Markdown."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        md.preprocessors.deregister("html_block")
        md.parser.blockprocessors.deregister("reference")
        for name in _LEFT_OUT_PATTERNS:
            md.inlinePatterns.deregister(name)
