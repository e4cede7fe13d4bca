"""Files and stdin as packed rows: what was audited is what is learnt, and each planted fault is found."""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmkit.errors import DataError, UsageError
from llmkit.formats.provenance import Invocation
from llmkit.tokens.audit import AuditReport
from llmkit.tokens.config import PackConfig
from llmkit.tokens.examples import Conversation
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.finetune.audit import reject_log
from llmkit.workflows.finetune.examples import Examples, example_files, open_examples
from llmkit.workflows.pretrain.data import spooled_files

INVOCATION = Invocation("finetune")


def record(number: int) -> dict[str, Any]:
    return {"prompt": f"What is {number} + 1?", "completion": f"It is {number + 1}. " + "So " * (number % 7)}


@pytest.fixture
def tokenizer(byte_level_dir: Path) -> Tokenizer:
    return load_tokenizer(byte_level_dir)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / "train.jsonl", map(record, range(60)))]


def write(path: Path, records: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def opened(
    files: list[Path], tokenizer: Tokenizer, cache: Path, config: SuperviseConfig | None = None, **more: Any
) -> Examples:
    settings = {"seq_len": 128, "cache": cache, "invocation": INVOCATION, **more}
    return open_examples(files, tokenizer, config or SuperviseConfig(), **settings)


def segments(found: Examples) -> dict[tuple[int, ...], tuple[bool, ...]]:
    """The ids of each example in the rows, with what is learnt of it."""
    rows = found.data.rows.read(np.arange(len(found.data.rows)))
    parts = {}
    for tokens, segment, loss in zip(rows.tokens, rows.segments, rows.loss, strict=True):
        for number in range(segment.max() + 1):
            here = segment == number
            parts[tuple(tokens[here].tolist())] = tuple(loss[here].tolist())
    return parts


def test_each_example_stands_whole_in_a_row_with_its_mask(
    files: list[Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    found = opened(files, tokenizer, tmp_path / "cache")
    expected = {}
    for number in range(60):
        told = record(number)
        messages = [
            {"role": "user", "content": told["prompt"]},
            {"role": "assistant", "content": told["completion"]},
        ]
        one, faults = Supervisor(tokenizer).supervise(Conversation(messages))
        assert faults == []
        expected[tuple(one.ids.tolist())] = tuple(one.learnt.tolist())
    assert segments(found) == expected
    assert (found.audit.records, found.audit.examples, found.audit.faults) == (60, 60, {})
    assert found.audit.shapes == {"prompt-completion": 60}
    assert found.audit.tokens == sum(map(len, expected))
    assert found.audit.learnt_tokens == sum(map(sum, expected.values()))
    assert len(found.data.rows) < 60 and found.data.seq_len == 128


def test_the_same_line_finds_its_rows_and_their_audit(
    files: list[Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    first = opened(files, tokenizer, tmp_path / "cache", shown=2)
    (folder,) = (tmp_path / "cache").iterdir()
    before = (folder / "index.json").stat().st_mtime_ns
    again = opened(files, tokenizer, tmp_path / "cache", shown=2)
    assert (again.audit, again.samples, again.data.sha256) == (first.audit, first.samples, first.data.sha256)
    assert (folder / "index.json").stat().st_mtime_ns == before
    assert len(again.samples) == 2
    changed = Tokenizer(tokenizer.backend, tokenizer.config, f"{tokenizer.chat_template} ")
    assert opened(files, changed, tmp_path / "cache").data.sha256 != first.data.sha256


def test_rows_are_called_as_before_named_templates_where_there_are_none(
    files: list[Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    opened(files, tokenizer, tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    with spooled_files(files, tmp_path) as (_, digest):
        packing = asdict(PackConfig(seq_len=128, boundary="none"))
        packing = {name: one for name, one in packing.items() if not name.startswith("fim")}  # as before them
        texts = {
            "tokenizer": tokenizer.sha256,
            "template": tokenizer.chat_template,
            "special": tokenizer.config,
        }
        key = {"examples": digest, "side": "all", "packing": packing, "config": asdict(SuperviseConfig())}
    written = json.dumps({**key, **texts}, sort_keys=True, separators=(",", ":"))
    assert folder.name == hashlib.sha256(written.encode()).hexdigest()[:16]
    named = Tokenizer(tokenizer.backend, tokenizer.config, named_templates={"rag": "{{ messages }}"})
    opened(files, named, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_split_is_by_what_records_say(tokenizer: Tokenizer, tmp_path: Path) -> None:
    config = SuperviseConfig(valid_fraction=0.3)
    files = [write(tmp_path / "a.jsonl", map(record, range(200)))]
    train, valid = (
        opened(files, tokenizer, tmp_path / "c", config, side=side) for side in ("train", "valid")
    )
    assert train.audit.examples + valid.audit.examples == 200
    assert 36 <= valid.audit.examples <= 84  # 60 expected, 6.5 the standard deviation
    assert not segments(train).keys() & segments(valid).keys()
    shuffled = [{"id": n, **record(n)} for n in reversed(range(200))]
    other = opened([write(tmp_path / "b.jsonl", shuffled)], tokenizer, tmp_path / "c", config, side="valid")
    assert segments(other) == segments(valid)
    reseeded = opened(
        files, tokenizer, tmp_path / "c", SuperviseConfig(valid_fraction=0.3, seed=1), side="valid"
    )
    assert segments(reseeded).keys() != segments(valid).keys()


def test_stdin_can_be_read_for_both_sides(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = "".join(json.dumps(record(n)) + "\n" for n in range(40)).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(content))))
    config = SuperviseConfig(valid_fraction=0.5)
    with example_files([Path("-")], tmp_path / "cache") as files:
        found = [
            opened(files, tokenizer, tmp_path / "cache", config, side=side, shown=1)
            for side in ("train", "valid")
        ]
    assert sum(one.audit.examples for one in found) == 40
    assert found[0].samples[0].where.startswith("stdin:")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")] == []


GOOD = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
PLANTED: dict[str, dict[str, Any]] = {
    "mask.zero": {"messages": [{"role": "user", "content": "No answer"}]},
    "bos.double": {"messages": [{"role": "system", "content": "bos twice"}, *GOOD["messages"]]},
    "end.missing": {"messages": [{"role": "user", "content": "no end"}, GOOD["messages"][1]]},
    "cut.answer": {"prompt": "Say it", "completion": "x y z " * 60},
    "cut.all": {"prompt": "x y z " * 60, "completion": "Too late"},
    "answer.empty": {"prompt": "Nothing?", "completion": ""},
    "role.unknown": {"messages": [{"role": "asistant", "content": "b"}]},
    "template.refused": {"messages": [{"role": "user", "content": "refuse"}, GOOD["messages"][1]]},
    "mask.prompt": {"messages": [{"role": "user", "content": "wide"}, GOOD["messages"][1]]},
    "text.special": {"prompt": "Ends: <|im_end|>", "completion": "Yes"},
    "record.duplicate": {"id": "again", **GOOD},
    "record.shape": {"question": "a", "answer": "b"},
    "text.lost": {"messages": [{"role": "observation", "content": "dropped"}, *GOOD["messages"]]},
}
FAULTY = (  # does what each fault above needs of a template, told by the text
    "{%- if messages[0].content == 'bos twice' %}<|endoftext|><|endoftext|>{% endif %}"
    "{%- for m in messages %}{% if m.content == 'refuse' %}{{ raise_exception('no such talk') }}{% endif %}"
    "{%- if m.role == 'assistant' %}<|im_start|>assistant\n{% generation %}{{ m.content }}"
    "{%- if messages[0].content != 'no end' %}<|im_end|>{% endif %}{% endgeneration %}"
    "{%- elif m.content == 'wide' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{%- elif m.role != 'observation' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>{% endif %}\n"
    "{% endfor %}"
)


def audited(
    planted: list[dict[str, Any]], tokenizer: Tokenizer, folder: Path
) -> tuple[AuditReport, list[dict[str, Any]]]:
    data = write(folder / "data.jsonl", [GOOD, *planted])
    chat = Tokenizer(tokenizer.backend, tokenizer.config, FAULTY)
    with reject_log(folder / "rejects.jsonl") as log:
        report = opened([data], chat, folder / "cache", log=log).audit
    return report, [json.loads(line) for line in (folder / "rejects.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.parametrize("rule", PLANTED)
def test_the_planted_fault_is_found_counted_and_listed(
    rule: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    report, rejects = audited([PLANTED[rule]], tokenizer, tmp_path)
    assert report.faults == {rule: 1}
    assert report.first[rule].startswith(f"{tmp_path / 'data.jsonl'}:2: ")
    (reject,) = rejects
    why = reject.pop("_reject")
    assert reject == PLANTED[rule]
    assert (why["stage"], why["rule"], why["line"]) == ("finetune", rule, 2)
    assert report.examples == (2 if why["kept"] else 1)


def test_a_clean_record_has_no_fault(tokenizer: Tokenizer, tmp_path: Path) -> None:
    report, rejects = audited([], tokenizer, tmp_path)
    assert (report.faults, report.examples, rejects) == ({}, 1, [])


def test_all_faults_are_told_apart_and_found_again_with_the_rows_in_the_cache(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    report, rejects = audited(list(PLANTED.values()), tokenizer, tmp_path)
    assert report.faults == dict.fromkeys(PLANTED, 1) and len(rejects) == len(PLANTED)
    (tmp_path / "rejects.jsonl").unlink()
    assert audited(list(PLANTED.values()), tokenizer, tmp_path) == (report, rejects)


def test_nothing_to_learn_from_is_an_error_that_says_why(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = write(tmp_path / "data.jsonl", [PLANTED["mask.zero"], PLANTED["record.shape"]])
    with pytest.raises(DataError, match=r"no examples to learn from: record.shape 1 .*mask.zero 1"):
        opened([data], tokenizer, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").glob("*") if path.is_dir()]


def test_an_example_longer_than_a_row_is_refused_as_a_setting(
    files: list[Path], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="130 is more than the 129 tokens of a row"):
        opened(files, tokenizer, tmp_path / "cache", SuperviseConfig(max_tokens=130))


def test_long_examples_are_cut_dropped_or_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    data = [write(tmp_path / "data.jsonl", [GOOD, PLANTED["cut.answer"]])]
    cut, drop = (
        opened(data, tokenizer, tmp_path / "c", SuperviseConfig(max_tokens=50, long=long))
        for long in ("cut", "drop")
    )
    assert (cut.audit.examples, cut.audit.faults) == (2, {"cut.answer": 1})
    assert max(map(len, segments(cut))) == 50 and cut.audit.cut_tokens > 0
    assert (drop.audit.examples, drop.audit.faults) == (1, {"long.dropped": 1})
    with pytest.raises(DataError, match=r"data.jsonl:2: \d+ tokens, 50 are the most"):
        opened(data, tokenizer, tmp_path / "c", SuperviseConfig(max_tokens=50, long="error"))


def test_real_instructions_all_become_examples(
    tokenizer: Tokenizer, shared_data: Path, tmp_path: Path
) -> None:
    data = [shared_data / "sft" / "instruction-1100.jsonl.zst"]
    found = opened(data, tokenizer, tmp_path / "cache", seq_len=512)
    assert found.audit.records == 1100 and found.audit.shapes == {"alpaca": 1100}
    assert found.audit.examples == 1100 - sum(found.audit.faults.values())
    assert set(found.audit.faults) <= {"record.duplicate"}
    plain = Tokenizer(tokenizer.backend, tokenizer.config, None)
    assert opened(data, plain, tmp_path / "cache", seq_len=512).audit.examples == found.audit.examples
