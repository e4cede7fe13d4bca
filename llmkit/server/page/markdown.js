"use strict";
// A reply's markdown as elements. marked's lexer finds blocks and marks; the elements are made here, and what
// a model wrote gets into them as text, or as an address that was looked at first. Nothing here reads HTML.

const DEEPEST = 20;    // lists and quotes within one another: a model that goes in circles writes thousands
const LONGEST = 6000;  // letters of a paragraph whose marks are looked for: the time can grow as their square
const UNSURE = 4;      // last tokens that more text may change: "- a\n*" is two lists, "- a\n**b**" one
const SPARE = 10;      // parts of the time that are not for drawing, to one that is
const SIGNS = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0" };

// In formulas backslashes, stars and underscores are no marks: they stay as they were written.
marked.use({
  gfm: true, breaks: true,
  extensions: [{
    name: "formula", level: "inline",
    start: (text) => text.search(/\\[([]|\$\$/),
    tokenizer(text) {
      const found = /^(?:\\\([^]+?\\\)|\\\[[^]+?\\\]|\$\$[^]+?\$\$)/.exec(text);
      return found ? { type: "formula", raw: found[0], text: found[0] } : undefined;
    },
  }],
});

class Lexer extends marked.Lexer {
  depth = 0;

  blockTokens(source, tokens = [], ...rest) {
    return this.within(source, tokens, DEEPEST, () => super.blockTokens(source, tokens, ...rest));
  }

  inlineTokens(source, tokens = []) {
    const deepest = source.length > LONGEST ? 0 : DEEPEST;
    return this.within(source, tokens, deepest, () => super.inlineTokens(source, tokens));
  }

  within(source, tokens, deepest, read) {
    if (this.depth >= deepest) return tokens.push({ type: "text", raw: source, text: source }), tokens;
    this.depth += 1;
    try { return read(); } finally { this.depth -= 1; }
  }
}

// ---- elements of tokens

const blocksOf = (tokens) => tokens.map(blockOf).filter(Boolean);
const marksOf = (token) => token.tokens ? token.tokens.map(markOf) : [plain(token.text)];

function blockOf(token) {
  switch (token.type) {
    case "space": case "def": return null;
    case "heading": return make(`h${Math.min(token.depth + 2, 6)}`, {}, ...marksOf(token));  // turns: h2
    case "paragraph": return make("p", {}, ...marksOf(token));
    case "text": return make("span", {}, ...marksOf(token));
    case "checkbox": return markOf(token);
    case "code": return codeOf(token);
    case "blockquote": return make("blockquote", {}, ...blocksOf(token.tokens));
    case "list": return listOf(token);
    case "table": return tableOf(token);
    case "hr": return make("hr");
    default: return make("p", { className: "raw", textContent: token.raw.trimEnd() });
  }
}

function codeOf(token) {
  const language = (token.lang || "").split(/\s/)[0];
  return make("div", { className: "code" },
    make("div", { className: "head" }, make("span", { textContent: language || "code" }),
      make("button", { type: "button", className: "copy-code", textContent: "Copy code" })),
    make("pre", { tabIndex: 0 }, make("code", { textContent: token.text })));
}

function listOf(token) {
  const items = token.items.map((item) => make("li", {}, ...blocksOf(item.tokens)));
  return token.ordered ? make("ol", { start: token.start || 0 }, ...items) : make("ul", {}, ...items);
}

function tableOf(token) {
  const row = (tag, cells) => make("tr", {},
    ...cells.map((cell) => make(tag, { className: cell.align ?? "" }, ...marksOf(cell))));
  return make("div", { className: "table", tabIndex: 0 }, make("table", {},
    make("thead", {}, row("th", token.header)),
    make("tbody", {}, ...token.rows.map((cells) => row("td", cells)))));
}

function markOf(token) {
  switch (token.type) {
    case "strong": case "em": case "del": return make(token.type, {}, ...marksOf(token));
    case "codespan": return make("code", { textContent: token.text });
    case "br": return make("br");
    case "checkbox": return token.checked ? "☑ " : "☐ ";
    case "link": return linkOf(token, marksOf(token));
    case "image": return linkOf(token, [`image: ${plain(token.text || token.href)}`]);  // not loaded unasked
    case "escape": return token.text;
    case "formula": return make("span", { className: "raw", textContent: token.text });
    case "text": return token.tokens ? make("span", {}, ...marksOf(token)) : plain(token.text);
    default: return /^<br\s*\/?>$/i.test(token.raw) ? make("br") : token.raw;  // in cells
  }
}

function linkOf(token, children) {
  const href = addressOf(plain(token.href));
  if (!href) return token.raw;
  return make("a", { href, title: href, target: "_blank", rel: "noopener noreferrer" }, ...children);
}

// An address that may be gone to; none of a script, of a file, or of a page on this server.
function addressOf(text) {
  try {
    const address = new URL(text);
    return ["http:", "https:", "mailto:"].includes(address.protocol) ? address.href : null;
  } catch {
    return null;
  }
}

// Text with the signs that HTML has names for; most of its thousands are never written.
function plain(text) {
  return text.replace(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|(\w+));/g, (whole, decimal, hex, name) => {
    if (name) return Object.hasOwn(SIGNS, name) ? SIGNS[name] : whole;
    const code = decimal ? Number(decimal) : parseInt(hex, 16);
    return code && code <= 0x10ffff ? String.fromCodePoint(code) : "\ufffd";
  });
}

// ---- a reply that grows

// Makes an element what another is, and leaves what is the same: it may be selected, scrolled or have focus.
function settle(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE && fresh.nodeType === Node.TEXT_NODE) {
    if (fresh.data.startsWith(old.data)) old.appendData(fresh.data.slice(old.data.length));
    else old.data = fresh.data;
  } else if (!old.cloneNode().isEqualNode(fresh.cloneNode())) {
    old.replaceWith(fresh);
  } else {
    const olds = [...old.childNodes], news = [...fresh.childNodes];
    news.forEach((child, at) => olds[at] ? settle(olds[at], child) : old.append(child));
    olds.slice(news.length).forEach((child) => child.remove());
  }
}

// A piece of a reply as it is read aloud: without the marks of its lines.
function spoken(text) {
  return text.split("\n").map((line) => {
    const formatted = new Formatted(make("div"));
    formatted.show(line, true);
    return formatted.element.textContent;
  }).join("\n");
}

// The elements of a reply's markdown, one for each of marked's top tokens.
class Formatted {
  constructor(element) {
    this.element = element;
    this.raws = [];  // the text so far, in the pieces that the elements are of
    this.next = 0;   // when to draw again
    this.isBehind = false;
  }

  // What is sure is read no more; at the end all is, so that links find addresses given below them.
  show(text, isLast) {
    const began = performance.now();
    this.isBehind = began < this.next && !isLast;
    if (this.isBehind) return;
    const source = text.replace(/\r\n?/g, "\n"), before = this.raws.slice(0, -UNSURE);
    const isSure = !isLast && source.startsWith(before.join(""));  // marked gives "- [x] " back as "- [x]\n"
    const sure = isSure ? before : [], lexer = new Lexer();
    const tokens = lexer.lex(source.slice(sure.join("").length));
    const hasLinks = Object.keys(lexer.tokens.links).length > 0;
    tokens.forEach((token, index) => {
      const at = sure.length + index, old = this.element.childNodes[at];
      if (old && this.raws[at] === token.raw && !hasLinks) return;
      const fresh = blockOf(token) ?? document.createTextNode("");
      fresh.dir = "auto";
      if (old) settle(old, fresh);
      else this.element.append(fresh);
    });
    this.raws = [...sure, ...tokens.map((token) => token.raw)];
    [...this.element.childNodes].slice(this.raws.length).forEach((old) => old.remove());
    const ended = performance.now();
    this.next = ended + SPARE * (ended - began);
  }
}
