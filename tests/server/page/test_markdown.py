"""Markdown on the page: the elements that a reply becomes, whole or while it comes, against markdown-it."""

import re
from html import escape

import pytest
from markdown_it import MarkdownIt

from tests.server.page.stage import Reader, in_node, read_page

DOCUMENT = """# Sorting

A **short** tour with *emphasis*, ~~old~~, `code` and ***both***.
This line stands on its own.

1. Make a list
   - with numbers
   - or **words**
     - deeper
2. Sort it

   A paragraph in an item.

---

```python
def first(words):
    return sorted(words)[0]  # <b> & "quoted"
```

| Method | Time | Note |
|:-------|-----:|:----:|
| `sorted` | O(n) | new |
| `sort` | | **in place** |

> A quote
> over two lines
>
> > and one in it

Snake_case_names, 2 * 3 * 4, 5 < 6 & 7 > 2, an \\*escape\\*, &amp; and &lt;.

* star
+ plus
- [not a link]

    indented(code)

Heading
-------
[the docs](https://example.com/a_b?c=1&d=2 "title")

3) three
4) four
"""
SHOW = """
  const whole = (text) => {
    const formatted = new Formatted(document.createElement("div"));
    formatted.show(text, true);
    return formatted.element;
  };
"""


@pytest.fixture(scope="module")
def read() -> Reader:
    return read_page()


def html(read: Reader, *texts: str) -> list[str]:
    """What texts become, one div each."""
    return in_node(read, f"{SHOW} given.texts.map((text) => outline(whole(text)))", texts=texts)


def bare(markup: str) -> str:
    """Markup without what is ours: attributes, frames around code and tables, blanks between elements."""
    markup = re.sub(
        r'<div className="head">.*?</div>|</(?:br|hr)>|</?(?:div|span|thead|tbody)\b[^>]*>', "", markup
    )
    markup = re.sub(r"<(\w+)[^>]*>", r"<\1>", markup).replace("\n</code>", "</code>")
    return re.sub(r"\s*(</?(?:p|li|ul|ol|h\d|pre|blockquote|t\w+|br|hr)>)\s*", r"\1", markup)


def theirs(text: str) -> str:
    """What markdown-it makes of a text, headings two levels lower as ours are."""
    markup = MarkdownIt("commonmark", {"breaks": True}).enable(["table", "strikethrough"]).render(text)
    markup = re.sub(r"(</?h)(\d)", lambda one: f"{one[1]}{int(one[2]) + 2}", markup)
    return bare(re.sub(r"(</?)s>", r"\1del>", markup))


def test_a_reply_is_what_markdown_it_makes_of_it(read: Reader) -> None:
    texts = [DOCUMENT, *DOCUMENT.split("\n\n"), DOCUMENT.replace("\n", "\r\n")]
    for text, ours in zip(texts, html(read, *texts), strict=True):
        assert bare(ours) == theirs(text), text


def test_what_may_not_be_gone_to_is_no_link_and_no_picture_is_loaded(read: Reader) -> None:
    refused = (
        *("[a](javascript:alert(1))", "[a](JaVaScRiPt:alert(1))", "[a](java&#115;cript:alert(1))"),
        *("[a](data:text/html,x)", "[a](file:///etc/passwd)", "[a](v1/models)", "[a](//host/x)", "[a](#top)"),
        *("![a](data:image/png;base64,x)", "<javascript:alert(1)>", "[a](vbscript:x)", "[a](http://)"),
    )
    for text, shown in zip(refused, html(read, *refused), strict=True):
        assert "<a " not in shown and "<img" not in shown, text
        assert shown == f'<div><p dir="auto">{escape(text)}</p></div>'
    link = '<a href="{0}" title="{0}" target="_blank" rel="noopener noreferrer">{1}</a>'
    allowed = {
        "[a](https://x.org/b_c?d=1&amp;e=2)": ("https://x.org/b_c?d=1&e=2", "a"),
        "<mailto:a@x.org>": ("mailto:a@x.org", "mailto:a@x.org"),
        "http://x.org/(a)": ("http://x.org/(a)", "http://x.org/(a)"),
        "![a cat](https://x.org/cat.png)": ("https://x.org/cat.png", "image: a cat"),
        "[a]\n\n[a]: https://x.org/": ("https://x.org/", "a"),
    }
    for text, shown in zip(allowed, html(read, *allowed), strict=True):
        assert shown == f'<div><p dir="auto">{link.format(*allowed[text])}</p></div>', text


def test_html_in_a_reply_is_text_but_for_the_break_of_a_line(read: Reader) -> None:
    one, two, three = html(read, "a <b>bold</b><br>b", "<script>x</script>\n", "<div>\n\n**x**\n\n</div>")
    assert one == '<div><p dir="auto">a &lt;b&gt;bold&lt;/b&gt;<br></br>b</p></div>'
    assert two == '<div><p dir="auto" className="raw">&lt;script&gt;x&lt;/script&gt;</p></div>'
    assert '<p dir="auto"><strong>x</strong></p>' in three


def test_formulas_stay_as_they_were_written(read: Reader) -> None:
    text = "So \\(a_1 * b * c_2\\), \\[\nx \\\\\n*y*\n\\] and $$e^{i*\\pi*}$$ *end*"
    (shown,) = html(read, text)
    assert re.sub(r"</?\w[^>]*>", "", shown) == text.replace("*end*", "end")
    assert shown.count("<em>") == 1


def test_a_reply_that_comes_in_pieces_is_in_the_end_what_it_is_at_once(read: Reader) -> None:
    check = f"""{SHOW}
      [1, 3, 7, 40].map((step) => {{
        const formatted = new Formatted(document.createElement("div"));
        for (let end = step; end < given.text.length; end += step) {{
          formatted.next = 0;
          formatted.show(given.text.slice(0, end), false);
        }}
        formatted.show(given.text, true);
        return outline(formatted.element) === outline(whole(given.text));
      }})"""
    text = f"{DOCUMENT}\nSee [the end].\n\n- a\n**b**\n\n| a |\n|--|\n| b |\n\n[the end]: https://x.org/\n"
    assert in_node(read, check, text=text) == [True] * 4
    assert in_node(read, check, text=text.replace("\n", "\r\n")) == [True] * 4


def test_while_a_reply_comes_only_its_end_is_read_anew(read: Reader) -> None:
    check = """
      const read = [], formatted = new Formatted(document.createElement("div"));
      const lex = Lexer.prototype.lex;
      Lexer.prototype.lex = function (source) { read.push(source.length); return lex.call(this, source); };
      const text = "A paragraph of **words**.\\n\\n".repeat(300);
      let first = null;
      for (let end = 20; end < text.length; end += 20) {
        formatted.next = 0;
        formatted.show(text.slice(0, end), false);
        first ??= formatted.element.children[0];
      }
      formatted.show(text, true);
      const pieces = formatted.element.children;
      [Math.max(...read.slice(0, -1)), pieces[0] === first, pieces.length]"""
    most, is_same, count = in_node(read, check)
    assert most < 5 * len("A paragraph of **words**.\n\n") and is_same and count == 600


def test_what_takes_long_to_draw_is_drawn_less_often(read: Reader) -> None:
    check = """
      let now = 0, drawn = 0;
      performance = { now: () => now };
      const formatted = new Formatted(document.createElement("div")), lex = Lexer.prototype.lex;
      Lexer.prototype.lex = function (source) { drawn += 1; now += 50; return lex.call(this, source); };
      for (let frame = 0; frame < 100; frame++, now += 16) formatted.show("word", false);
      formatted.show("words", false);
      const behind = [formatted.isBehind, formatted.element.textContent];
      now += 1000;
      formatted.show("words", false);
      [drawn, behind, [formatted.isBehind, formatted.element.textContent]]"""
    often = 100 * 16 // 500 + 1
    assert in_node(read, check) == [often + 1, [True, "word"], [False, "words"]]


@pytest.mark.parametrize("piece", ["> ", "1. ", "- ", "*a_", "[", "**a ", "| a ", "\\(", "> - ", "<a "])
def test_a_model_that_goes_in_circles_stops_nothing(piece: str, read: Reader) -> None:
    check = f"""{SHOW}
      const text = given.piece.repeat(4000) + "end", began = performance.now();
      const depth = (one) => 1 + Math.max(0, ...(one.children ?? []).map(depth));
      const element = whole(text);
      [depth(element), element.textContent.endsWith("end"), performance.now() - began]"""
    depth, has_end, milliseconds = in_node(read, check, piece=piece)
    assert depth < 70 and has_end and milliseconds < 10_000


def test_a_chat_s_reply_is_in_form_and_shows_its_source_where_asked(read: Reader) -> None:
    check = """
      const now = () => turns.map((turn) => turn.formatted ? turn.formatted.element.hidden : null);
      addTurn("user", "chat", "**a**");
      addTurn("assistant", "chat", "");
      addTurn("assistant", "completion", "");
      const first = now();
      turns[1].source.onclick();
      addTurn("assistant", "chat", "");
      const second = [now(), turns[1].place.hidden];
      turns.at(-1).source.onclick();
      addTurn("assistant", "chat", "");
      [first, second, now(), turns[0].place.textContent]"""
    assert in_node(read, check) == [
        [None, False, None],
        [[None, True, None, True], False],
        [None, True, None, False, False],
        "**a**",
    ]


def test_what_is_read_aloud_has_no_marks_but_those_of_a_text_that_goes_on(read: Reader) -> None:
    check = """
      keepInSight = (change) => change();
      const heard = [];
      announce = (text) => heard.push(text);
      events = async function* () {
        for (const text of given.pieces) {
          yield { choices: [given.mode === "chat" ? { delta: { content: text } } : { text }] };
        }
      };
      const note = { textContent: "" }, tokens = new Tokens(place);
      follow(null, { mode: given.mode, note }, tokens, 0).then(() => heard)"""
    pieces = ["## Some **bold** and `code` words", ".\n", "- See [here](https://x.org/)\n- and *there*"]
    told = in_node(read, check, mode="chat", pieces=pieces)
    assert told == ["Some bold and code words.\n", "See here\nand there — end of the reply."]
    told = in_node(read, check, mode="completion", pieces=pieces)
    assert told == ["".join(pieces[:2]), f"{pieces[2]} — end of the reply."]
