"""The page of `--html`: one file, no network; a grid of heads, one head large, its text by query."""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>llmkit inspect-attention</title>
<style>
:root { color-scheme: light dark; --paper: #fbfbf9; --ink: #1d1f23; --soft: #676d76; --line: #d9dbde;
  --panel: #ffffff; --mark: #b4480f; --heat: 212,72,66; }
@media (prefers-color-scheme: dark) { :root { --paper: #16171a; --ink: #e7e8ea; --soft: #9aa0a9;
  --line: #34373d; --panel: #1e2024; --mark: #ff9d5c; --heat: 180,78,8; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 24px 28px 60px; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 0; overflow-wrap: anywhere; } h2 { font-size: 15px; margin: 26px 0 8px; }
p { margin: 4px 0; color: var(--soft); max-width: 90ch; }
.views { display: flex; flex-wrap: wrap; gap: 34px; align-items: flex-start; }
.views section { min-width: 0; max-width: 100%; }
.views section + section { flex: 1 1 500px; max-width: min(800px, 100%); }
.grid { display: grid; gap: 5px; overflow-x: auto; }
.grid button { padding: 0; border: 2px solid transparent; border-radius: 4px; background: none;
  cursor: pointer; line-height: 0; position: relative; }
.grid button[aria-pressed=true] { border-color: var(--mark); }
.grid button:focus-visible { outline: 2px solid var(--mark); }
.grid canvas { width: 100%; border-radius: 2px; image-rendering: pixelated; }
.grid .name { font: 11px/1.4 ui-monospace, monospace; color: var(--soft); display: block;
  text-align: center; }
.grid .classed { color: var(--mark); font-weight: 600; }
#large { image-rendering: pixelated; border: 1px solid var(--line); cursor: crosshair; display: block;
  max-width: 100%; height: auto; }
#under { min-height: 1.6em; font: 13px ui-monospace, monospace; }
#text { max-width: 76ch; line-height: 1.9; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; padding: 10px 12px; font: 14px/1.9 ui-monospace, monospace; white-space: pre-wrap;
  max-height: 340px; overflow: auto; unicode-bidi: plaintext; }
#text span { border-radius: 3px; cursor: pointer; padding: 1px 0; }
#text span.unseen { color: var(--soft); }
#text span.query { outline: 2px solid var(--mark); }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } td.word, th.word { text-align: left; }
td button { font: inherit; color: inherit; padding: 0; border: 0; background: none; cursor: pointer; }
tbody tr.pick { cursor: pointer; } tbody tr.pick:hover { background: var(--panel); }
.scroll { overflow: auto; max-height: 420px; max-width: 100%; }
label { color: var(--soft); font-size: 13px; margin-right: 14px; }
@media (max-width: 600px) { body { padding: 14px 14px 40px; } }
@media print { .scroll, #text { max-height: none; overflow: visible; }
  #text span { print-color-adjust: exact; } }
</style>
</head>
<body>
<main>
<h1 id="title"></h1>
<p id="facts"></p>
<div class="views">
<section><h2>Heads</h2><p>Rows are layers. Coloured names have a class. Arrow keys go from head to head.</p>
<div class="grid" id="grid"></div></section>
<section><h2 id="which"></h2><p id="figures"></p>
<canvas id="large" role="img" width="480" height="480"></canvas><div id="under" aria-live="polite"></div>
<h2>Text</h2>
<label><input type="radio" name="way" value="from" checked> what the marked token looks at</label>
<label><input type="radio" name="way" value="to"> who looks at it</label>
<div id="text" tabindex="0" role="group" aria-label="Text; arrow keys move the mark, and tell the strongest">\
</div></section>
</div>
<div id="parts"></div>
</main>
<script type="application/json" id="data">__DATA__</script>
<script>
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const make = (name, words, kind) => { const one = document.createElement(name);
  if (words !== undefined) one.textContent = words; if (kind) one.className = kind; return one; };
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
for (const head of data.maps) head.cells = bytes(head.cells);
const R = data.rows.length - 1, C = data.cols.length - 1;
const ramp = data.ramp, unseen = data.unseen;
const shown = text => text.replace(/\\n/g, "\\u21b5\\n").replace(/\\t/g, "\\u21e5");
const label = place => place + " " + JSON.stringify(data.tokens[place]);
const span = (edges, at) => edges[at + 1] - edges[at] === 1 ? label(edges[at])
  : edges[at] + " to " + (edges[at + 1] - 1);
const seen = (head, r, c) => head.cells[r * C + c] > 0;
const shade = (head, r, c) => (head.cells[r * C + c] - 1) / 254;
const value = (head, r, c) => { const s = shade(head, r, c);
  return data.scores ? head.low + s * (head.high - head.low) : s * s; };
function paint(canvas, head) {
  canvas.width = C; canvas.height = R;
  const pen = canvas.getContext("2d"), image = pen.createImageData(C, R);
  for (let at = 0; at < R * C; at++) {
    const color = head.cells[at] ? ramp[head.cells[at]] : unseen;
    image.data.set([color[0], color[1], color[2], 255], at * 4);
  }
  pen.putImageData(image, 0, 0);
}
let current = 0, query = R - 1, way = "from";
const grid = document.getElementById("grid"), large = document.getElementById("large");
const byLayer = [...new Set(data.maps.map(h => h.layer))];
const most = Math.max(...byLayer.map(l => data.maps.filter(h => h.layer === l).length));
const widest = Math.max(34, Math.min(84, Math.floor(560 / most)));
grid.style.gridTemplateColumns = `repeat(${most}, minmax(34px, ${widest}px))`;
const lines = byLayer.map(layer => data.maps.filter(h => h.layer === layer));
lines.forEach((heads, line) => heads.forEach((head, column) => {
  const index = data.maps.indexOf(head), button = make("button"), canvas = make("canvas");
  button.style.gridRow = line + 1; button.style.gridColumn = column + 1;
  const named = head.classes.length > 0;
  button.title = `layer ${head.layer} head ${head.head} ${head.classes.join(", ")}`;
  paint(canvas, head);
  button.append(canvas, make("span", head.layer + "." + head.head, named ? "name classed" : "name"));
  button.addEventListener("click", () => choose(index));
  grid.append(button); Object.assign(head, {button, line, column});
}));
function choose(index) {
  data.maps[current].button.setAttribute("aria-pressed", "false");
  current = index;
  const head = data.maps[index];
  head.button.setAttribute("aria-pressed", "true");
  document.getElementById("which").textContent = `Layer ${head.layer}, head ${head.head}` +
    (head.classes.length ? ": " + head.classes.join(", ").replace(/_/g, " ") : "");
  document.getElementById("figures").textContent = head.figures;
  paint(large, head);
  large.setAttribute("aria-label", "Attention of " + head.button.title);
  large.style.width = C * Math.max(1, Math.round(480 / Math.max(R, C))) + "px";
  shadeText();
}
const words = document.getElementById("text");
data.tokens.forEach((token, place) => {
  const one = make("span", shown(token));
  const row = data.rows.findLastIndex(edge => edge <= place);
  one.addEventListener("mouseenter", () => describe(row, data.cols.findLastIndex(edge => edge <= place)));
  one.addEventListener("click", () => { query = row; shadeText(); });
  words.append(one);
});
function shadeText() {
  const head = data.maps[current];
  [...words.children].forEach((one, place) => {
    const r = way === "from" ? query : data.rows.findLastIndex(edge => edge <= place);
    const c = way === "from" ? data.cols.findLastIndex(edge => edge <= place)
      : data.cols.findLastIndex(edge => edge <= data.rows[query]);
    const s = seen(head, r, c) ? shade(head, r, c) : 0;
    one.style.background = `rgba(var(--heat), ${(0.85 * s).toFixed(3)})`;
    one.classList.toggle("unseen", !seen(head, r, c));
    one.classList.toggle("query", place >= data.rows[query] && place < data.rows[query + 1]);
  });
}
function describe(r, c) {
  const head = data.maps[current], both = way === "from" ? [query, c] : [r, c];
  tell(head, both[0], both[1]);
}
function tell(head, r, c) {
  const pair = span(data.rows, r) + " \\u2192 " + span(data.cols, c);
  document.getElementById("under").textContent = pair + ": " +
    (seen(head, r, c) ? value(head, r, c).toPrecision(3) : "not seen");
}
function strongest() {
  const {cells} = data.maps[current], at = data.cols.findLastIndex(edge => edge <= data.rows[query]);
  const pairs = way === "from" ? Array.from({length: C}, (_, c) => [query, c])
    : Array.from({length: R}, (_, r) => [r, at]);
  const shade = ([r, c]) => cells[r * C + c];
  return pairs.reduce((best, pair) => shade(pair) > shade(best) ? pair : best);
}
const cell = event => { const box = large.getBoundingClientRect();
  return [Math.min(R - 1, Math.floor((event.clientY - box.top) / box.height * R)),
    Math.min(C - 1, Math.floor((event.clientX - box.left) / box.width * C))].map(n => Math.max(0, n)); };
large.addEventListener("mousemove", event => tell(data.maps[current], ...cell(event)));
large.addEventListener("click", event => { query = cell(event)[0]; shadeText(); });
document.querySelectorAll("[name=way]").forEach(one => one.addEventListener("change", () => {
  way = one.value; shadeText(); }));
const plain = event => !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey);
function beside(head, key) {
  const last = heads => heads && heads[Math.min(head.column, heads.length - 1)];
  return {ArrowRight: data.maps[current + 1], ArrowLeft: data.maps[current - 1],
    ArrowDown: last(lines[head.line + 1]), ArrowUp: last(lines[head.line - 1])}[key];
}
grid.addEventListener("keydown", event => {
  const next = plain(event) && beside(data.maps[current], event.key);
  if (!next) return;
  event.preventDefault(); choose(data.maps.indexOf(next)); next.button.focus();
});
words.addEventListener("keydown", event => {
  const step = plain(event) && {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  event.preventDefault(); query = Math.max(0, Math.min(R - 1, query + step)); shadeText();
  tell(data.maps[current], ...strongest());
  words.querySelector(".query").scrollIntoView({block: "nearest"});
});
for (const part of data.parts) {
  const section = make("section"), box = make("div", undefined, "scroll"), table = make("table");
  box.tabIndex = 0;
  section.append(make("h2", part.title), make("p", part.words));
  const line = (cells, name) => { const row = make("tr"); cells.forEach((words, at) =>
    row.append(make(name, words, part.words_at.includes(at) ? "word" : ""))); return row; };
  const top = make("thead"), body = make("tbody");
  top.append(line(part.head, "th"));
  part.rows.forEach(cells => { const row = line(cells, "td"), [layer, head] = String(cells[0]).split(".");
    const index = data.maps.findIndex(h => h.layer === +layer && h.head === +head);
    if (part.picks && index >= 0) {
      row.className = "pick"; row.addEventListener("click", () => choose(index));
      row.firstChild.replaceChildren(make("button", cells[0])); }
    body.append(row); });
  table.append(top, body); box.append(table); section.append(box);
  document.getElementById("parts").append(section);
}
document.getElementById("title").textContent = data.title;
document.getElementById("facts").textContent = data.facts;
choose(data.first);
</script>
</body>
</html>
"""
