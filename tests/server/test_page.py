"""The page: who gets it, what its policy allows, and that its script puts tokens over their text."""

import asyncio
import base64
import hashlib
import re
from typing import Any

import pytest

from llmkit.server.admission import Admission
from llmkit.server.answer import ExecutedTool
from llmkit.server.config import AdmissionConfig
from llmkit.server.keyed_gate import KeyedGate
from llmkit.server.keys import KeyRules, Keys, digest_of
from llmkit.server.page import HEADERS, PAGE, content_policy
from llmkit.server.usage import UsageStore
from llmkit.server.wire.chat import executed_object
from tests.server.conftest import Serving
from tests.server.page.stage import Reader, in_node, read_page
from tests.wcag import color, contrast


@pytest.fixture(scope="module")
def read() -> Reader:
    return read_page()


def test_the_page_needs_no_key_and_tells_none(serving: Serving) -> None:
    keys = Keys({"one": KeyRules(sha256=digest_of("k"))})
    gate = KeyedGate(keys, Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))

    async def ask() -> Any:
        async with serving(gate=gate) as client:
            assert (await client.get("/load")).status_code == 401
            return await client.get("/")

    answer = asyncio.run(ask())
    assert answer.status_code == 200 and answer.content == PAGE
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == HEADERS["content-security-policy"]


def test_the_policy_allows_what_is_in_the_page_and_nothing_else(read: Reader) -> None:
    policy = dict(one.split(" ", 1) for one in HEADERS["content-security-policy"].split("; "))
    for kind in ("script", "style"):
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()) for one in read.inline[kind]]
        assert policy[f"{kind}-src"] == " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    assert "unsafe" not in HEADERS["content-security-policy"]
    changed = PAGE.replace(b'"use strict";', b'"use strict"; ')
    assert content_policy(changed) != content_policy(PAGE)


def test_nothing_in_the_page_comes_from_outside_or_would_be_refused(read: Reader) -> None:
    addresses = [value for _, name, value in read.attributes if name in ("src", "href", "action", "srcset")]
    assert addresses == ["data:,"]
    assert [one for one in read.attributes if one[1] == "style" or one[1].startswith("on")] == []
    assert "//" not in re.sub(r"(?m)(^|\s)//\s.*$", "", read.own_scripts)
    assert "url(" not in read.inline["style"][0] and "@import" not in read.inline["style"][0]


def test_the_script_has_no_way_to_read_markup(read: Reader) -> None:
    ways = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "srcdoc")
    assert [way for way in ways if way in read.own_scripts] == []
    assert "Storage" not in read.own_scripts and "cookie" not in read.own_scripts


def test_what_the_server_did_for_a_reply_stands_under_it(read: Reader) -> None:
    """Chunks as `wire/chat.py` makes them; their text is put in as text."""
    check = """
      keepInSight = (change) => change();
      const shown = [], turn = { note: { before: (...folds) => shown.push(...folds) } };
      for (const delta of given.deltas) showWork(turn, delta);
      shown.map((fold) => [fold.className, ...fold.children.map((one) => one.textContent)])"""
    passages = [
        {"mark": 1, "document": "a.md", "start": 0, "end": 40, "heading": "Dogs"},
        {"mark": 2, "document": "<b>", "start": 7, "end": 9},
    ]
    calls = [
        ExecutedTool(0, "x", "calculator", '{"expression": "2+2"}', "4", failed=False),
        ExecutedTool(1, "y", "sql", "{}", "<i>", failed=True),
    ]
    deltas = [
        {"role": "assistant", "content": "", "citations": passages},
        {"content": "It is 4 [1]."},
        {"executed_tools": [executed_object(one) for one in calls]},
    ]
    assert in_node(read, check, deltas=deltas) == [
        [
            "work ",
            "Passages before the question: 2",
            "[1] a.md, characters 0 to 40: Dogs\n[2] <b>, characters 7 to 9",
        ],
        ["work ", 'Called: calculator({"expression": "2+2"})', "4"],
        ["work failed", "Failed: sql({})", "<i>"],
    ]


def test_what_was_thought_stands_folded_before_the_reply_and_its_tokens_are_none_of_it(read: Reader) -> None:
    check = """
      keepInSight = (change) => change();
      const folds = [];
      const turn = addTurn("assistant", "chat", "");
      turn.place.before = (fold) => folds.push(fold);
      const tokens = new Tokens(turn.place), seen = [];
      const chunk = ([thought, text, spelled]) => ({ choices: [{
        delta: { ...(thought && { reasoning_content: thought }), ...(text && { content: text }) },
        logprobs: { content: [{ token: spelled, logprob: -1, top_logprobs: [] }] } }] });
      events = async function* () {
        for (const one of given.chunks) {
          yield chunk(one);
          frames.splice(0).forEach((frame) => frame());
          seen.push(folds.flatMap((fold) => [fold.open, ...fold.children.map((part) => part.textContent)]));
        }
      };
      follow(null, turn, tokens, 0).then(() => {
        turn.text = tokens.text;
        const spans = turn.place.children.filter((one) => one.tag === "span").map((one) => one.textContent);
        return [seen, spans, chatMessages().at(-1)];
      })"""
    chunks = [
        *[("", "", "<think>"), ("", "", "\n"), ("I", "", "I"), (" add.", "", " add"), ("", "", "</think>")],
        *[("", "", "\n\n"), ("", "Seven", "Seven"), ("", ".", ".")],
    ]
    seen, spans, message = in_node(read, check, chunks=chunks)
    assert seen[:3] == [[], [], [True, "Thinking …", "I"]]
    assert seen[-3:] == [[True, "Thinking …", "I add."], *[[False, "Thought", "I add."]] * 2]
    assert spans == ["Seven", "."]
    assert message == {"role": "assistant", "content": "Seven.", "reasoning_content": "I add."}


@pytest.mark.parametrize(("pointer", "stays"), [("touch", True), ("mouse", False), ("pen", False)])
def test_probabilities_stay_where_a_finger_is_lifted(pointer: str, stays: bool, read: Reader) -> None:
    check = """
      let shown = false;
      showTip = () => { shown = true; };
      hideTip = () => { shown = false; };
      const span = Object.assign(new Element(), { closest: () => span });
      for (const kind of ["pointerover", "pointerout"]) {
        for (const told of log.heard[kind]) told({ target: span, pointerType: given.pointer });
      }
      later.forEach((told) => told());
      shown"""
    assert in_node(read, check, pointer=pointer) is stays


def test_another_model_is_asked_in_the_way_that_was_chosen_where_it_can_be(read: Reader) -> None:
    check = """
      models = [{ id: "talks" }, { id: "bare", has_chat_template: false }, { id: "other" }];
      $("mode").options = [{}, {}];
      const by = (model) => { $("model").value = model; chooseModel(); return $("mode").value; };
      const first = [by("talks"), by("bare"), by("other")];
      $("mode").value = "completion";
      $("mode").heard.change[0]();
      [...first, by("talks"), $("mode").options[0].disabled]"""
    assert in_node(read, check) == ["chat", "completion", "chat", "completion", False]


def test_where_the_model_is_gone_the_server_is_asked_for_those_it_has(read: Reader) -> None:
    check = """
      const refusal = { error: { message: "there is no 'old' here", code: "model_not_found" } };
      fetch = async (path) => path.startsWith("v1/chat")
        ? { status: 404, headers: { get() {} }, text: async () => JSON.stringify(refusal) }
        : { ok: true, json: async () => ({ data: path === "load" ? [] : [{ id: "new" }] }) };
      $("mode").options = [{}, {}];
      for (const name of NUMBERS) Object.assign($(name), { validity: {}, valueAsNumber: NaN });
      $("stop").value = $("system").value = $("say").value = "";
      models = [{ id: "old" }];
      $("model").disabled = false;
      $("model").replaceChildren = (...options) => { $("model").value = options[0].value; };
      addTurn("user", "chat", "hello");
      reply(() => { $("say").value = "hello"; }).then(() => new Promise((done) => setImmediate(done)))
        .then(() => [$("model").value, $("say").value, $("error").hidden, $("error").textContent])"""
    message = "404: there is no 'old' here (model_not_found)"
    assert in_node(read, check) == ["new", "hello", False, message]


def test_an_edited_message_takes_the_place_of_all_from_there_on_once_it_is_sent(read: Reader) -> None:
    check = """
      let undo;
      reply = (how) => { undo = how; };
      const now = () => [turns.map((turn) => turn.text).join(""), $("say").value, Boolean(edited)];
      "abcde".split("").forEach((text, place) => addTurn(place % 2 ? "assistant" : "user", "chat", text));
      $("mode").value = "chat";
      $("say").value = "draft";
      const steps = [() => edit(turns[2]), () => edit(turns[2]), () => edit(turns[2]), send, () => undo()];
      steps.map((step) => { step(); return now(); })"""
    assert in_node(read, check) == [
        ["abcde", "c", True],
        ["abcde", "draft", False],  # not edited after all
        ["abcde", "c", True],
        ["abc", "", False],
        ["abcde", "c", True],  # nothing came of it
    ]


def test_a_page_with_a_conversation_that_is_kept_nowhere_is_not_left_unasked(read: Reader) -> None:
    check = """
      copy = download = () => {};
      const asks = () => {
        let asked = false;
        window.heard.beforeunload[0]({ preventDefault: () => { asked = true; } });
        return asked;
      };
      const say = () => addTurn("user", "chat", "hello");
      const press = (id) => $(id).heard.click[0]();
      const presses = ["download", "copy", "clear"].flatMap((id) => [say, () => press(id)]);
      [() => {}, ...presses].map((step) => { step(); return asks(); })"""
    assert in_node(read, check) == [False, True, False, True, False, True, False]


def test_a_message_that_stays_is_not_put_in_anew(read: Reader) -> None:
    """Who has selected a word of it, or stands on it, would lose that."""
    check = """
      const put = [], taken = [];
      const remove = function () { taken.push(this); };
      $("turns").children = [];
      $("turns").append = (...items) => {
        put.push(...items);
        $("turns").children.push(...items.map((one) => Object.assign(one, { isConnected: true, remove })));
      };
      for (const text of ["a", "b", "c"]) addTurn("user", "chat", text);
      const [a, b, c] = turns.map((turn) => turn.item);
      turns = turns.slice(0, 2);
      render();
      [put.map((one) => [a, b, c].indexOf(one)), taken.map((one) => [a, b, c].indexOf(one))]"""
    assert in_node(read, check) == [[0, 1, 2], [2]]


def test_a_key_that_no_header_can_hold_is_refused_where_it_is_typed(read: Reader) -> None:
    (pattern,) = [value for tag, name, value in read.attributes if (tag, name) == ("input", "pattern")]
    keys = ("sk-1_+/=~", "a secret", "", "é", "ключ", "sk-…")
    assert [key for key in keys if re.fullmatch(pattern, key)] == ["sk-1_+/=~", "a secret", "", "é"]


def test_while_a_reply_is_written_others_can_be_copied_and_none_edited(read: Reader) -> None:
    check = """
      running = {};
      addTurn("user", "chat", "a");
      addTurn("assistant", "chat", "");
      turns.map(({ copy, edit }) => [copy.disabled, edit?.disabled ?? null])"""
    assert in_node(read, check) == [[False, True], [True, None]]


def test_a_server_that_has_no_models_yet_is_asked_again(read: Reader) -> None:
    check = """
      const refusal = JSON.stringify({ error: { message: "starting" } });
      const answers = [
        { status: 503, headers: { get() {} }, text: async () => refusal },
        { ok: true, json: async () => ({ data: [{ id: "there" }] }) },
      ];
      fetch = async (path) => path === "load" ? new Promise(() => {}) : answers.shift();
      $("mode").options = [{}, {}];
      $("model").disabled = true;
      const now = () => [$("error").hidden, $("error").textContent, models.length];
      let before;
      loadModels().then(() => { before = now(); return later.at(-1)(); }).then(() => [before, now()])"""
    assert in_node(read, check) == [[False, "503: starting", 0], [True, "503: starting", 1]]


def test_all_of_a_conversation_is_printed_and_nothing_beside_it(read: Reader) -> None:
    printed = read.inline["style"][0].split("@media print {\n")[1].split("\n}\n")[0]
    rules = dict(re.findall(r"(?m)^ *(\S.*?) \{ (.*?) \}$", printed))
    assert "overflow: visible" in rules["#log"] and "height: auto" in rules["html, body"]
    assert rules["header, #side, #foot, #tip, #live"] == "display: none;"


def test_each_line_of_a_text_begins_at_the_side_of_its_letters(read: Reader) -> None:
    assert "textarea, .text { unicode-bidi: plaintext; }" in read.inline["style"][0]


def test_a_text_in_a_list_begins_at_the_side_of_its_letters_in_firefox_too(read: Reader) -> None:
    """Its own rule for `li`, `text-align: match-parent`, is the left side of a page that reads from there."""
    assert re.search(r"#turns li \{[^}]*text-align: start", read.inline["style"][0])


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_letters_stand_out_from_what_is_behind_them(scheme: int, read: Reader) -> None:
    """WCAG 2.2's contrast of 4.5, and nothing that makes letters paler; what cannot be pressed is exempt."""
    style = read.inline["style"][0]
    colors = dict(re.findall(r"--(\w[\w-]*): (#\w+)", re.findall(r":root \{[^}]+\}", style)[scheme]))
    behind = {
        "ink": ("paper", "panel", "own", "s1", "s2", "s3", "s4", "s5"),
        "faint": ("paper", "panel", "own"),  # own: a message that goes, and who wrote it
        "act": ("paper",),
        "on-act": ("act",),
        "wrong": ("paper", "on-wrong"),
    }
    pairs = [(name, other) for name, others in behind.items() for other in others]
    assert [pair for pair in pairs if contrast(*(color(colors[name]) for name in pair)) < 4.5] == []
    assert re.findall(r"([^{}]+) \{[^}]*opacity", style) == ["\nbutton:disabled"]


def test_a_page_whose_fields_the_browser_gave_back_goes_by_them(read: Reader) -> None:
    check = """
      const colours = [];
      document.body = { classList: { toggle: (name, isOn) => colours.push([name, isOn]) } };
      for (const id of ["again", "copy", "model"]) $(id).disabled = false;
      $("mode").value = "completion";
      $("scores").checked = false;
      window.heard.pageshow[0]();
      const disabled = ["again", "copy", "model"].map((id) => $(id).disabled);
      [disabled, wanted, $("system-label").hidden, colours]"""
    assert in_node(read, check) == [[True] * 3, "completion", True, [["colours", False]]]


def test_the_conversation_keeps_some_lines_on_a_screen_that_is_low_or_much_enlarged(read: Reader) -> None:
    rows = re.findall(r"body \{[^}]*grid-template: ([^/]+) /", read.inline["style"][0])
    assert rows == ["auto auto minmax(8rem, 1fr) auto", "auto minmax(8rem, 1fr) auto"]


def test_every_field_has_a_label_and_every_name_is_there_once(read: Reader) -> None:
    ids = [value for _, name, value in read.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert {value for _, name, value in read.attributes if name == "for"} <= set(ids)
    assert set(re.findall(r'\$\("([^"]+)"\)', read.own_scripts)) <= set(ids)


def test_load_adds_up_to_what_was_asked_and_counts_are_for_admins(serving: Serving) -> None:
    rules = {
        "chief": KeyRules(sha256=digest_of("a"), admin=True),
        "one": KeyRules(sha256=digest_of("b")),
        "other": KeyRules(sha256=digest_of("c"), models=("elsewhere",)),
    }
    gate = KeyedGate(Keys(rules), Admission(AdmissionConfig(), lambda: 0.0), UsageStore(None))
    body = {"prompt": "the quick brown fox " * 8, "max_tokens": 4, "ignore_eos": True}

    async def ask() -> tuple[list[dict[str, Any]], list[Any]]:
        async with serving(gate=gate) as client:
            answers = [
                (await client.post("/v1/completions", json=body, headers={"x-api-key": "b"})).json()["usage"]
                for _ in range(2)
            ]
            told = [(await client.get("/load", headers={"x-api-key": key})).json()["data"] for key in "abc"]
            models = (await client.get("/v1/models", headers={"x-api-key": "b"})).json()["data"]
            assert models[0]["has_chat_template"] is True
            return answers, told

    usage, (chief, one, other) = asyncio.run(ask())
    cached = sum(each["prompt_tokens_details"]["cached_tokens"] for each in usage)
    now = {"model": "tiny", "running": 0, "waiting": 0, "cache_used": 0.0}
    counts = {
        "drawn_tokens": 8,
        "prefill_tokens": sum(each["prompt_tokens"] for each in usage) - cached,
        "cached_tokens": cached,
    }
    assert cached > 0
    assert (chief, one, other) == ([now | counts], [now], [])


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([["a b", ["a", " b"]], ["c", ["c"]]], [["a", 1], [" b", 1], ["c", 1], ["", 0]]),
        # a first word without the space that its token has
        ([["Once", [" Once"]], [" up", [" up"]]], [["Once", 1], [" up", 1], ["", 0]]),
        # letters of a character come in parts, whose tokens come with it
        ([["é", ["\ufffd", "\ufffd"]], ["x", ["x"]]], [["é", 2], ["x", 1], ["", 0]]),
        ([["a", ["a"]], ["😀", ["\ufffd"] * 4]], [["a", 1], ["😀", 4], ["", 0]]),
        # text ahead of its token, and a rest that has none because a stop string cut it
        ([["ab", ["a"]], ["", ["b"]], ["cd", []]], [["a", 1], ["b", 1], ["cd", 0]]),
    ],
)
def test_tokens_lie_over_the_text_that_they_spell(pieces: list[Any], shown: list[Any], read: Reader) -> None:
    check = """
      const tokens = new Tokens(place);
      const score = (text) => ({ text, logprob: -1 });
      for (const [text, parts] of given.pieces) tokens.push(text, parts.map(score));
      tokens.place(true);
      place.children.map((one) => one.tag ? [one.textContent, groups.get(one).length] : [one.data, 0])"""
    assert in_node(read, check, pieces=pieces) == shown


def test_a_reply_is_laid_out_once_a_frame_however_many_tokens_it_has(read: Reader) -> None:
    check = """
      let drawn = 0;
      keepInSight = (change) => { drawn += 1; change(); };
      const event = (content) => `data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\\n\\n`;
      const lines = [...Array(500).fill(event("word ")), "data: [DONE]\\n\\n"];
      const parts = lines.map((one) => new TextEncoder().encode(one));
      const read = async () => {
        if (parts.length === 250) frames.splice(0).forEach((draw) => draw());
        return { value: parts.shift() };
      };
      const note = { textContent: "" }, tokens = new Tokens(place);
      follow({ body: { getReader: () => ({ read }) } }, { mode: "chat", note }, tokens, 0)
        .then(() => [drawn, place.children.at(-1).data.length, note.textContent.split(" ")[0]])"""
    assert in_node(read, check) == [2, 2500, "500"]
