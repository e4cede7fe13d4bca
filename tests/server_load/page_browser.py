"""The page at `/` in a real browser: light, dark, narrow, by keyboard or finger, long, and with hostile text.

By hand, in an environment with playwright and a Chromium:

    python tests/server_load/page_browser.py MODEL --llmkit .venv/bin/llmkit --browser /usr/bin/chromium \
        --shots /tmp/shots

MODEL is a small one; it is served as it is, with a chat template, and behind a key. Screenshots are for
people to look at. Status 1 where a check fails.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, Route, sync_playwright

TEMPLATE = "{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}Once upon a time, "
KEY = "a secret"
HOSTILE = '<img src=x onerror="window.caught=1"><script>window.caught=1</script>&lt;b&gt; \'é😀'
IDLE = "() => document.getElementById('send').textContent === 'Send'"
LOADED = "() => !document.getElementById('model').disabled"
Check = Callable[["Bench"], None]


@contextlib.contextmanager
def served(llmkit: str, *arguments: str) -> Iterator[str]:
    """The address of a server."""
    reader, writer = os.pipe()
    command = [llmkit, "serve", "--port", "0", "--threads", "1", "--ready-fd", str(writer), *arguments]
    server = subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as ready:
            yield json.loads(ready.readline())["url"] + "/"
    finally:
        server.terminate()
        server.wait()


class Bench:
    """A browser and three servers."""

    def __init__(self, browser: Browser, urls: dict[str, str], shots: Path | None) -> None:
        self.browser = browser
        self.urls = urls
        self.shots = shots
        self.complaints: list[str] = []

    def open(self, server: str, *, dark: bool = False, width: int = 1280, height: int = 800) -> Page:
        """A page of a server, in a profile of its own; what its console says is a complaint."""
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(self.urls[server])
        return page

    def shoot(self, page: Page, name: str) -> None:
        """Keep a picture."""
        if self.shots is not None:
            page.screenshot(path=self.shots / f"{name}.png")


def until(page: Page, script: str) -> None:
    """Wait for something to be true. The page's policy forbids playwright's own way, a string of script."""
    for _ in range(600):
        if page.evaluate(script):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {script}")


def say(page: Page, text: str) -> None:
    """Send a text and wait until the reply is complete."""
    page.fill("#say", text)
    page.press("#say", "Enter")
    until(page, IDLE)


def show_tokens(page: Page) -> None:
    """Have the last reply, and those to come, shown as they were written."""
    page.get_by_role("button", name="Source").last.click()


def looks(bench: Bench) -> None:
    """No page is wider than its window, and nothing but the conversation moves when a reply comes."""
    places = "() => ['say', 'send', 'load', 'model'].map((id) => JSON.stringify(\
        document.getElementById(id).getBoundingClientRect())).join()"
    for dark in (False, True):
        for width in (1280, 360):
            page = bench.open("chat", dark=dark, width=width, height=740)
            until(page, LOADED)
            page.wait_for_timeout(300)
            before = page.evaluate(places)
            name = f"{'dark' if dark else 'light'}-{width}"
            bench.shoot(page, f"empty-{name}")
            say(page, "Tell me a story about a dog")
            assert page.evaluate(places) == before
            assert page.evaluate("() => document.documentElement.scrollWidth") == width
            end = "() => { const log = document.getElementById('log');\
                return log.scrollHeight - log.scrollTop - log.clientHeight < 2; }"
            assert page.evaluate(end), "the end of the reply is not in sight"
            bench.shoot(page, f"reply-{name}")
            show_tokens(page)
            page.locator(".token.s3").last.hover()
            assert page.locator("#tip tr").count() == 5
            bench.shoot(page, f"tip-{name}")
            page.locator("#settings").evaluate("(one) => { one.open = true; }")
            bench.shoot(page, f"settings-{name}")
            page.context.close()


def keyboard(bench: Bench) -> None:
    """Ask, read a token, change a setting, stop and ask again without a pointer."""
    page = bench.open("chat")
    until(page, LOADED)
    focused = "() => document.activeElement.id || document.activeElement.className"
    assert page.evaluate(focused) == "say"
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.keyboard.press("Enter")
    until(page, IDLE)
    assert page.locator("li.user .text").inner_text() == "one\ntwo"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("() => document.activeElement.textContent") == "Source"
    page.keyboard.press("Enter")
    page.focus("#say")
    page.keyboard.press("Shift+Tab")
    assert "token" in page.evaluate(focused)
    first = page.locator("#tip strong").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").is_visible() and page.locator("#tip strong").inner_text() != first
    assert page.evaluate("() => document.activeElement.getAttribute('aria-describedby')") == "tip"
    bench.shoot(page, "keyboard-token")
    page.keyboard.press("Escape")
    assert not page.locator("#tip").is_visible()
    seen = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        name = page.evaluate(focused)
        outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert name in ("token", "colours") or outline != "none", f"{name} has focus, and nobody sees it"
        seen.add(name)
    assert seen >= {"model", "temperature", "seed", "scores", "say", "send", "again", "copy", "download"}
    page.focus("#max_tokens")
    page.keyboard.press("Control+a")
    page.keyboard.type("5")
    page.focus("#again")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "say"
    until(page, IDLE)
    assert page.locator("li.assistant").count() == 1
    assert page.locator(".note").inner_text().startswith("5 tokens")


def stops(bench: Bench) -> None:
    """Escape ends a reply here and on the server, and keeps what came."""
    page = bench.open("plain")
    until(page, LOADED)
    page.fill("#say", "Once upon a time")
    page.keyboard.press("Enter")
    press = """() => new Promise((done) => {
      const look = () => document.querySelectorAll(".token").length > 3 ? done(now()) : setTimeout(look, 5);
      const now = () => {  // from here it would come too late: a small model is done within half a second
        const label = document.getElementById("send").textContent;
        document.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
        return label;
      };
      look();
    })"""
    assert page.evaluate(press) == "Stop"
    until(page, IDLE)
    assert page.locator(".note").inner_text().endswith("stopped")
    tokens = page.locator(".token").count()
    assert 3 < tokens < 400, tokens
    found: list[int] = []
    for _ in range(20):
        load = page.request.get(bench.urls["plain"] + "load").json()["data"][0]
        found.append(load["running"] + load["waiting"])
        if not found[-1]:
            break
        page.wait_for_timeout(50)
    assert found[-1] == 0, "the engine still writes what nobody reads"


def same_text(bench: Bench) -> None:
    """The tokens that are shown spell what the server wrote, in both ways to ask."""
    for server, path, prompt in (
        ("plain", "v1/completions", {"prompt": "One day"}),
        ("chat", "v1/chat/completions", {"messages": [{"role": "user", "content": "One day"}]}),
    ):
        page = bench.open(server)
        until(page, LOADED)
        page.fill("#seed", "7")
        page.fill("#max_tokens", "60")
        page.fill("#stop", "\\n\nzebra")
        say(page, "One day")
        body = {**prompt, "seed": 7, "max_tokens": 60, "stop": ["\n", "zebra"]}
        choice = page.request.post(bench.urls[server] + path, data=body).json()["choices"][0]
        wanted = choice["text"] if server == "plain" else choice["message"]["content"]
        assert page.locator("li.assistant .text").evaluate("(one) => one.textContent") == wanted
        bare = "(one) => [...one.childNodes].filter((node) => node.nodeType === 3)[0].data"
        assert len(page.locator("li.assistant .text").evaluate(bare)) < 20, "text without its tokens"
        with page.expect_download() as saved:
            page.click("#download")
        line = json.loads(Path(saved.value.path()).read_text())
        if server == "plain":
            assert line == {"prompt": "One day", "completion": wanted}
        else:
            told = [("user", "One day"), ("assistant", wanted)]
            assert [(one["role"], one["content"]) for one in line["messages"]] == told


def keys(bench: Bench) -> None:
    """A server with keys is asked with one, which is kept nowhere; what it says is shown as it said it."""
    page = bench.open("keyed")
    until(page, "() => document.getElementById('key-dialog').open")
    bench.shoot(page, "key")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    until(page, "() => document.getElementById('key-why').textContent.includes('not known')")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    until(page, LOADED)
    kept = "() => localStorage.length + sessionStorage.length + document.cookie.length"
    assert page.evaluate(kept) == 0 and KEY not in page.url
    page.fill("#top_p", "3")
    say(page, "hello")
    found = page.locator("#error").inner_text()
    assert "400: top_p must be" in found, found
    assert page.locator("#top_p").get_attribute("aria-invalid") == "true"
    assert page.input_value("#say") == "hello" and page.locator("#turns li").count() == 0
    bench.shoot(page, "error")
    page.fill("#top_p", "")
    page.fill("#max_tokens", "3")
    say(page, "hello")
    assert page.locator("#turns li").count() == 2
    say(page, "hello")
    assert "429: this key may have 1 requests a minute" in page.locator("#error").inner_text()
    assert page.locator("#turns li").count() == 2
    bench.complaints = [one for one in bench.complaints if "Failed to load resource" not in one]


def hostile(bench: Bench) -> None:
    """Markup in a reply, in tokens, in names and in errors is text."""
    page = bench.open("chat")
    until(page, LOADED)
    scores = [
        {"token": part, "logprob": -2.5, "bytes": [], "top_logprobs": [{"token": part, "logprob": -0.5}]}
        for part in (HOSTILE[:9], HOSTILE[9:])
    ]
    choice = {"delta": {"content": HOSTILE}, "logprobs": {"content": scores}, "finish_reason": HOSTILE}
    events = [{"choices": [choice]}, {"error": {"message": HOSTILE, "code": HOSTILE}}]
    stream = "".join(f"data: {json.dumps(one)}\n\n" for one in events)

    def answer(route: Route) -> None:
        route.fulfill(body=stream, content_type="text/event-stream")

    page.route("**/v1/chat/completions", answer)
    page.route("**/v1/models", lambda route: route.fulfill(json={"data": [{"id": HOSTILE}]}))
    page.evaluate("() => loadModels()")
    page.wait_for_timeout(200)
    say(page, HOSTILE)
    show_tokens(page)
    page.locator(".token").first.hover()
    bench.shoot(page, "hostile")
    assert page.locator("li.assistant .text").evaluate("(one) => one.textContent") == HOSTILE
    assert HOSTILE in page.locator("#error").inner_text()
    assert page.locator("#model option").inner_text() == HOSTILE
    assert page.locator("img, b, #log script").count() == 0
    assert page.evaluate("() => window.caught") is None
    put = "() => { document.body.innerHTML = '<p>'; }"  # even a page that forgot itself could not
    try:
        page.evaluate(put)
    except Exception as error:
        assert "TrustedHTML" in str(error)
    else:
        raise AssertionError("the policy lets markup in")
    bench.complaints.clear()


def markdown(bench: Bench) -> None:
    """A reply's markdown has its form while it comes, a selection in it stays, and its code can be copied."""
    page = bench.open("chat", width=390)
    until(page, LOADED)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    long_line = "print('" + "long " * 40 + "')"
    text = (
        f"# Title\n\n- one\n  - **two**\n\n```python\n{long_line}\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n"
    )
    page.evaluate("""async () => {
        addTurn("user", "chat", "**hi**");
        const turn = addTurn("assistant", "chat", "");
        window.grow = (text, isLast) => { turn.formatted.next = 0; turn.formatted.show(text, isLast); };
    }""")
    for end in range(len(text)):
        page.evaluate("(text) => grow(text, false)", text[:end])
        if text[:end].endswith("('long "):
            page.evaluate("() => getSelection().selectAllChildren(document.querySelector('pre'))")
    page.evaluate("(text) => grow(text, true)", text)
    assert page.evaluate("() => String(getSelection())").startswith("print('long"), "what was selected is not"
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    assert page.locator("li.user .text").inner_text() == "**hi**"
    tags = "() => [...document.querySelectorAll('.formatted *')].map((one) => one.localName).join(' ')"
    assert page.evaluate(tags) == (
        "h3 ul li span ul li span strong div div span button pre code div table thead tr th th tbody tr td td"
    )
    bench.shoot(page, "markdown")
    page.get_by_role("button", name="Copy code").click()
    until(page, "() => document.querySelector('.copy-code').textContent === 'Copied'")
    assert page.evaluate("() => navigator.clipboard.readText()") == long_line


def edits(bench: Bench) -> None:
    """An edited message takes the place of all from there on, and Escape leaves it as it was."""
    page = bench.open("chat")
    until(page, LOADED)
    page.fill("#max_tokens", "5")
    for text in ("one", "two", "three"):
        say(page, text)
    page.fill("#say", "a draft")
    page.get_by_role("button", name="Edit").nth(1).click()
    assert page.input_value("#say") == "two" and page.locator("li.going").count() == 4
    bench.shoot(page, "edit")
    page.keyboard.press("Escape")
    assert page.input_value("#say") == "a draft" and page.locator("li.going").count() == 0
    page.get_by_role("button", name="Edit").nth(1).click()
    say(page, "2")
    assert page.locator("li.user .text").all_inner_texts() == ["one", "2"]


def finger(bench: Bench) -> None:
    """What a tap on a token shows stays until something else is touched."""
    context = bench.browser.new_context(viewport={"width": 390, "height": 800}, has_touch=True)
    page = context.new_page()
    page.goto(bench.urls["chat"])
    until(page, LOADED)
    say(page, "hello")
    show_tokens(page)
    page.locator(".token:not(:empty)").last.tap()
    page.wait_for_timeout(600)
    assert page.locator("#tip").is_visible()
    page.locator("h1").tap()
    assert not page.locator("#tip").is_visible()


def paper(bench: Bench) -> None:
    """All of a conversation is printed, not the part in sight."""
    page = bench.open("chat")
    until(page, LOADED)
    page.evaluate("() => { for (let at = 0; at < 200; at++) addTurn('user', 'chat', `message ${at}`); }")
    page.emulate_media(media="print")
    high = page.evaluate("() => document.documentElement.scrollHeight")
    assert high > 200 * 50, high
    assert not page.locator("#foot").is_visible() and not page.locator("#side").is_visible()


def long_reply(bench: Bench) -> None:
    """A reply of 4,000 tokens that comes at once is shown within seconds."""
    page = bench.open("chat")
    until(page, LOADED)
    event = {"choices": [{"delta": {"content": " word"}}]}
    stream = f"data: {json.dumps(event)}\n\n" * 4000 + "data: [DONE]\n\n"
    page.route(
        "**/v1/chat/completions", lambda route: route.fulfill(body=stream, content_type="text/event-stream")
    )
    began = time.monotonic()
    say(page, "at length")
    assert time.monotonic() - began < 5
    assert page.locator("li.assistant .text").evaluate("(one) => one.textContent") == " word" * 4000


CHECKS: tuple[Check, ...] = (
    *(looks, keyboard, stops, same_text, keys, hostile),
    *(markdown, edits, finger, paper, long_reply),
)


def main() -> int:
    """Run every check."""
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    reader.add_argument("model", type=Path)
    reader.add_argument("--llmkit", default="llmkit")
    reader.add_argument("--browser", help="a Chromium; playwright's own by default")
    reader.add_argument("--shots", type=Path, help="a folder for pictures")
    reader.add_argument("--only", choices=[one.__name__ for one in CHECKS], help="one check")
    told = reader.parse_args()
    if told.shots is not None:
        told.shots.mkdir(parents=True, exist_ok=True)
    failed = 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        talker = folder / "talker"
        shutil.copytree(told.model, talker, copy_function=shutil.copyfile)
        talker.chmod(0o755)
        (talker / "chat_template.jinja").write_text(TEMPLATE)
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        (folder / "keys.toml").write_text(f'[keys.alice]\nsha256 = "{digest}"\nrequests_per_minute = 1\n')
        urls = {
            "plain": stack.enter_context(served(told.llmkit, "-m", str(told.model))),
            "chat": stack.enter_context(served(told.llmkit, "-m", str(talker))),
            "keyed": stack.enter_context(
                served(told.llmkit, "-m", str(talker), "--keys", str(folder / "keys.toml"))
            ),
        }
        chromium: Any = stack.enter_context(sync_playwright()).chromium
        browser = chromium.launch(executable_path=told.browser, args=["--no-sandbox"])
        stack.callback(browser.close)
        for check in (one for one in CHECKS if told.only in (None, one.__name__)):
            bench = Bench(browser, urls, told.shots)
            try:
                check(bench)
                assert not bench.complaints, bench.complaints
            except Exception as error:
                failed += 1
                line = traceback.extract_tb(error.__traceback__)[1].lineno
                print(f"FAILED  {check.__name__}, line {line}: {type(error).__name__}: {error}")
            else:
                print(f"passed  {check.__name__}: {check.__doc__}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
