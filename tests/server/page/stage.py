"""The page as its tests read it, and a stage on which its scripts run with little of a page around them."""

import json
import shutil
import subprocess
from html.parser import HTMLParser
from typing import Any

import pytest

from llmkit.server.page import PAGE

VOID = ("meta", "link", "input", "br")


class Reader(HTMLParser):
    """Elements, what is inline, and tags that are not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.inline: dict[str, list[str]] = {"script": [], "style": []}
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag in self.inline:
            self.inline[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]][-1] += data

    @property
    def own_scripts(self) -> str:
        """The scripts without the first, which is marked's."""
        return "".join(self.inline["script"][1:])


def read_page() -> Reader:
    """The page as it is sent."""
    reader = Reader()
    reader.feed(PAGE.decode())
    reader.close()
    assert reader.open == []
    return reader


STAGE = """
const vm = require("vm"), fs = require("fs");
const any = new Proxy(function () {}, {
  get: (target, name) => name === Symbol.toPrimitive ? () => "" : any,
  apply: () => any, set: () => true,
});
class Text {
  nodeType = 3;
  constructor(data) { this.data = data; }
  get textContent() { return this.data; }
  appendData(more) { this.data += more; }
  remove() { this.parent.children.splice(this.parent.children.indexOf(this), 1); }
  replaceWith(other) { this.parent.put(this.parent.children.indexOf(this), 1, other); }
  cloneNode() { return new Text(this.data); }
  isEqualNode(other) { return this.data === other.data; }
}
class Element {
  nodeType = 1;
  children = [];
  classList = { add() {}, toggle() {} };
  get childNodes() { return this.children; }
  get textContent() { return this.children.map((one) => one.textContent).join(""); }
  set textContent(text) { this.children = []; this.append(text); }
  put(at, gone, ...given) {
    const pieces = given.map((one) => typeof one === "string" ? new Text(one) : one);
    this.children.splice(at, gone, ...pieces);
    for (const piece of pieces) piece.parent = this;
  }
  append(...given) { this.put(this.children.length, 0, ...given); }
  insertBefore(one, at) { this.put(this.children.indexOf(at), 0, one); }
  remove() { Text.prototype.remove.call(this); }
  replaceWith(other) { Text.prototype.replaceWith.call(this, other); }
  cloneNode() { return Object.assign(new Element(), { ...this, children: [] }); }
  isEqualNode(other) { return shown(this) === shown(other); }
  setAttribute() {}
  querySelector() { return this.children.find((one) => one.tag === "span"); }
}
const element = (tag) => Object.assign(new Element(), { tag });
const SHOWN = ["dir", "className", "start", "href", "title", "target", "rel", "tabIndex", "type"];
const shown = (one) => one.tag + SHOWN.filter((name) => one[name] !== undefined && one[name] !== "")
  .map((name) => ` ${name}=${JSON.stringify(one[name])}`).join("");
// An element as HTML would have it.
const named = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const outline = (one) => one.tag
  ? `<${shown(one)}>${one.children.map(outline).join("")}</${one.tag}>`
  : one.data.replace(/[&<>"]/g, (sign) => named[sign]);
const frames = [], later = [];
class Option { constructor(text, value) { this.value = value; } }
const byName = {};
const byId = (id) => byName[id] ??= new Proxy(
  { heard: {}, addEventListener(kind, told) { (this.heard[kind] ??= []).push(told); } },
  { get: (target, name) => name in target ? target[name] : any },
);
const given = JSON.parse(fs.readFileSync(0, "utf8"));
const context = vm.createContext({
  console, given, document: {
    getElementById: byId, querySelectorAll: () => [], addEventListener() {},
    body: any, createElement: element, createTextNode: (data) => new Text(data),
  },
  matchMedia: () => any, performance, Element, Option, Node: { TEXT_NODE: 3 }, URL, outline,
  setTimeout: (told) => later.push(told), clearTimeout() {}, setImmediate, frames, later,
  window: byId("window"), fetch: () => new Promise(() => {}),
  place: element("div"), TextDecoder, TextEncoder, AbortController,
  requestAnimationFrame: (draw) => frames.push(draw), cancelAnimationFrame() {},
});
for (const script of given.scripts) vm.runInContext(script, context);
Promise.resolve(vm.runInContext(given.check, context)).then((found) => console.log(JSON.stringify(found)));
"""


def in_node(read: Reader, check: str, **given: Any) -> Any:
    """What a check gives, run behind the page's script with little of a page around it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not here")
    told = json.dumps({"scripts": read.inline["script"], "check": check, **given})
    done = subprocess.run([node, "-e", STAGE], input=told, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
