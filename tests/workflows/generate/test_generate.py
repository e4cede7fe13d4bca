"""llmkit generate as a whole, through its workflow: files in, files out, the gate, the plan."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from coded_models import coded_gguf
from gguf_copies import plain_gguf, split_gguf
from gguf_models import case_config, random_model

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, GateFailed, MissingError
from llmkit.workflows.generate import output as generate_output
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import GenerateReport, generate_files, plan_generate
from llmkit.workflows.generate.row import Row

GREEDY = {"temperature": 0.0, "max_tokens": 11}


class Bench:
    """A model, and a way to run the workflow into a file."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model = model
        self.folder = folder
        self.report: GenerateReport | None = None

    def run(
        self, sampling: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **files: Any
    ) -> str:
        out = self.folder / "out"
        asked = GenerateFiles(**({"model": self.model, "out": out, "force": True} | files))
        self.report = generate_files(asked, GenerateConfig(sampling=sampling or GREEDY, **(config or {})))
        return out.read_text(encoding="utf-8")

    def rows(self, *records: dict[str, Any] | str, **settings: Any) -> list[dict[str, Any]]:
        path = self.folder / "rows.jsonl"
        lines = (one if isinstance(one, str) else json.dumps(one) for one in records)
        path.write_text("".join(f"{line}\n" for line in lines))
        return [json.loads(line) for line in self.run(jsonl=path, **settings).splitlines()]


@pytest.fixture
def stories(shared_data: Path, tmp_path: Path) -> Bench:
    return Bench(shared_data / "models" / "stories260K", tmp_path)


@pytest.fixture
def tiny(tiny_model: Callable[..., Path], byte_level_dir: Path, tmp_path: Path) -> Bench:
    folder = tiny_model(vocab_size=600)
    for file in byte_level_dir.iterdir():
        shutil.copy(file, folder)
    return Bench(folder, tmp_path)


@pytest.mark.parametrize(
    "name", ["char-gpt-shakespeare", "induction-2l1h", "stories-292K-early", "stories260K"]
)
def test_greedy_text_is_what_transformers_published(name: str, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "models" / name
    bench = Bench(folder, tmp_path)
    reference = json.loads((folder / "reference.json").read_text())
    context = json.loads((folder / "config.json").read_text())
    length = context.get("max_position_embeddings") or context["n_positions"]
    for one in reference["greedy"]:
        room = min(len(one["greedy_ids"]), length - len(one["prompt_ids"]))
        text = bench.run(
            GREEDY | {"max_tokens": len(one["greedy_ids"])}, {"echo": True}, prompt=one["prompt"]
        )
        assert one["greedy_text"].startswith(text.removesuffix("\n"))
        assert bench.report is not None and bench.report.completion_tokens == room


def test_a_prompt_is_the_same_from_the_command_line_a_file_and_a_row(stories: Bench) -> None:
    file = stories.folder / "prompt.txt"
    file.write_text("Once upon a time\n")
    text = stories.run(prompt="Once upon a time")
    assert text == ", there was a little girl named Lily.\n"
    assert stories.run(file=file) == text
    (row,) = stories.rows({"prompt": "Once upon a time"})
    assert row["completion"] + "\n" == text


def test_rows_come_out_in_order_with_their_other_fields_and_do_not_bear_on_each_other(
    stories: Bench,
) -> None:
    rows = [
        {"id": n, "prompt": prompt, "kept": [n, None]} for n, prompt in enumerate(("Once", "One", "Lily"))
    ]
    sampling = {"temperature": 1.0, "max_tokens": 30}
    found = stories.rows(*rows, sampling=sampling)
    assert [{key: one[key] for key in ("id", "prompt", "kept")} for one in found] == rows
    turned = stories.rows(*rows[::-1], sampling=sampling)
    assert turned == found[::-1]
    for row, one in zip(rows, found, strict=True):
        assert stories.rows(row, sampling=sampling) == [one]
        alone = stories.run(sampling | {"seed": one["seed"]}, prompt=row["prompt"])
        assert alone == one["completion"] + "\n"


def test_json_is_one_object_with_a_schema(stories: Bench) -> None:
    found = json.loads(stories.run(GREEDY | {"logprobs": 2}, {"as_json": True}, prompt="Once upon a time"))
    assert list(found) == [
        *("schema", "prompt", "completion", "finish_reason", "usage", "seed", "logprobs"),
    ]
    assert found["schema"] == "llmkit.generate/1" and found["finish_reason"] == "length"
    assert found["usage"] == {"prompt_tokens": 5, "completion_tokens": 11, "total_tokens": 16}
    assert "".join(one["text"] for one in found["logprobs"]) == found["completion"]
    reference = json.loads((stories.model / "reference.json").read_text())["greedy"][0]["next_token_top5"]
    top = [[one["id"], one["logprob"]] for one in found["logprobs"][0]["top"]]
    assert [id_ for id_, _ in top] == [id_ for id_, _ in reference[:2]]
    assert [logprob for _, logprob in top] == pytest.approx([one for _, one in reference[:2]], abs=2e-5)


def test_a_text_that_does_not_match_fails_the_gate_after_everything_is_written(stories: Bench) -> None:
    rows = [{"prompt": "Once upon a time"}, {"prompt": "One day"}]
    assert len(stories.rows(*rows, config={"require": "[a-z]"})) == 2
    with pytest.raises(GateFailed, match=r"1 of 2 texts do not match '\^, there'"):
        stories.rows(*rows, config={"require": "^, there"})
    assert len((stories.folder / "out").read_text().splitlines()) == 2


def test_a_bad_row_of_a_file_is_found_before_any_work(tiny: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmkit.workflows.generate.model.start_engine", pytest.fail)
    with pytest.raises(DataError, match=r"rows.jsonl:3: "):
        tiny.rows({"prompt": "a"}, {"prompt": "b"}, {"prompt": "license " * 200})
    assert not (tiny.folder / "out").exists()


def test_bad_rows_can_be_passed_over_and_kept(tiny: Bench) -> None:
    rejects = tiny.folder / "rejects.jsonl"
    lines = (
        {"id": 1, "prompt": "a"},
        "{broken",
        {"id": 2, "prompt": "license " * 200},
        {"id": 3, "prompt": "b"},
    )
    found = tiny.rows(*lines, rejects=rejects)
    assert [one["id"] for one in found] == [1, 3]
    kept = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [one["_reject"]["line"] for one in kept] == [2, 3]
    assert kept[0]["_line"] == "{broken" and kept[1]["id"] == 2
    assert "leaves no room" in kept[1]["_reject"]["error"]
    assert tiny.report is not None and tiny.report.bad_lines == 2
    assert len(tiny.rows(*lines, skip_bad=True)) == 2


def test_rows_of_a_pipe_are_read_once_as_they_come(tiny: Bench) -> None:
    pipe = tiny.folder / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"prompt": "a"}\n{"prompt": "b"}\n',))
    writer.start()
    assert len(tiny.run(jsonl=pipe).splitlines()) == 2
    writer.join()


def test_a_model_without_a_tokenizer_turns_tokens_into_tokens(
    tiny_model: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(tiny_model("bare"), tmp_path)
    (row,) = bench.rows({"tokens": [1, 2], "samples": 1, "logprobs": 1})
    assert len(row["completion_ids"]) == 11 and "completion" not in row
    assert [one["id"] for one in row["logprobs"]] == row["completion_ids"]
    with pytest.raises(MissingError, match="no tokenizer"):
        bench.run(prompt="a")


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_a_gguf_model_in_parts_gives_the_tokens_of_the_whole(kernels: str, tmp_path: Path) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    types = {"attn": "Q4_K", "ffn_down": "Q6_K", "ffn": "Q8_0", "token_embd": "Q4_0"}
    whole = coded_gguf(tmp_path / "m.gguf", random_model(case_config("llama", shape)), types)
    parts = split_gguf(whole, tmp_path / "parts", 8)
    assert len(parts) > 3
    row = {"tokens": [5, 1, 90, 33]}
    ids = [
        Bench(model, tmp_path).rows(row, config={"kernels": kernels})[0]["completion_ids"]
        for model in (whole, parts[0])
    ]
    assert ids[0] == ids[1] and len(ids[0]) == 11 and len(set(ids[0])) > 2


@pytest.mark.parametrize("kernels", ["auto", "torch"])
def test_a_gguf_model_of_codebooks_gives_the_tokens_of_its_plain_numbers(
    kernels: str, tmp_path: Path
) -> None:
    shape = {"hidden_size": 256, "intermediate_size": 512, "head_dim": 64}
    types = {
        **{"attn_q": "IQ1_S", "attn_k": "IQ3_XXS", "attn_v": "IQ2_S", "attn_output": "IQ1_M"},
        **{"ffn_down": "IQ3_S", "ffn_up": "IQ2_XS", "ffn_gate": "IQ2_XXS", "token_embd": "IQ3_S"},
    }
    coded = coded_gguf(tmp_path / "m.gguf", random_model(case_config("llama", shape)), types)
    plain = plain_gguf(coded, tmp_path / "plain.gguf")
    assert plain.stat().st_size > 5 * coded.stat().st_size
    row = {"tokens": [5, 1, 90, 33]}
    ids = [
        Bench(model, tmp_path).rows(row, config={"kernels": kernels})[0]["completion_ids"]
        for model in (coded, plain)
    ]
    assert ids[0] == ids[1] and len(ids[0]) == 11 and len(set(ids[0])) > 2


def test_a_text_that_the_context_cut_off_is_noted(tiny: Bench) -> None:
    tiny.run({"max_tokens": 100, "ignore_eos": True}, prompt="a")
    assert tiny.report is not None
    assert tiny.report.notes == ("the text ends where the model's context of 32 does",)
    tiny.run({"max_tokens": 3, "ignore_eos": True}, prompt="a")
    assert tiny.report.notes == ()


def _plan(bench: Bench, **files: Any) -> Any:
    return plan_generate(
        GenerateFiles(model=bench.model, **files), GenerateConfig(sampling={"max_tokens": 8})
    )


def test_the_plan_says_what_it_takes_and_reads_no_weight(
    tiny: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmkit.workflows.generate.model.start_engine", pytest.fail)
    plan = _plan(tiny, prompt="the License")
    prompt = plan.prompt_tokens
    assert (plan.rows, plan.context, plan.dtype, plan.device) == (1, 32, "float32", "cpu")
    assert plan.parameters == 600 * 8 + 2 * (2 * 8 + 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 12) + 8
    assert plan.weight_bytes == 4 * plan.parameters
    assert plan.kv_bytes == 2 * 2 * 4 * 16 * 4  # K and V, layers, head_dim, a block, bytes
    assert prompt + 8 - 1 <= 16 and plan.texts_at_once == 1
    assert plan.sampling["max_tokens"] == 8 and plan.out is None


def test_the_plan_counts_the_rows_of_a_file_and_knows_max_tokens_of_a_pipe(tiny: Bench) -> None:
    rows = tiny.folder / "rows.jsonl"
    rows.write_text('{"tokens": [1, 2, 3]}\n{"tokens": [1], "max_tokens": 20}\n')
    plan = _plan(tiny, jsonl=rows)
    assert (plan.rows, plan.prompt_tokens, plan.texts_at_once) == (2, 3, 2)
    assert plan.kv_bytes == 2 * 2 * 4 * 32 * 4 * 2  # 1 + 20 - 1 places are two blocks, for each of two texts
    piped = _plan(tiny, jsonl=Path("-"))
    assert (piped.rows, piped.prompt_tokens, piped.texts_at_once) == (None, None, 16)
    assert piped.kv_bytes == 2 * 2 * 4 * 16 * 4 * 16


def test_rows_written_at_once_come_out_in_order_and_each_as_if_alone(tiny: Bench) -> None:
    rows = [{"id": n, "prompt": "the License"[: 1 + n % 9], "max_tokens": 3 + 5 * n % 17} for n in range(25)]
    sampling = {"ignore_eos": True, "temperature": 1.0}
    together = tiny.rows(*rows, sampling=sampling)
    assert [one["id"] for one in together] == list(range(25))
    assert tiny.rows(*rows, sampling=sampling, config={"batch": 1}) == together
    unordered = tiny.rows(*rows, sampling=sampling, config={"unordered": True, "batch": 4})
    assert [one["id"] for one in unordered] != list(range(25))
    assert sorted(unordered, key=lambda one: one["id"]) == together


@pytest.mark.parametrize("unordered", [False, True])
def test_rows_before_a_bad_one_of_a_pipe_are_written(
    tiny: Bench, monkeypatch: pytest.MonkeyPatch, unordered: bool
) -> None:
    pipe = tiny.folder / "pipe"
    os.mkfifo(pipe)
    lines = "".join(f'{{"id": {n}, "prompt": "a", "max_tokens": {9 - n}}}\n' for n in range(4))
    writer = threading.Thread(target=pipe.write_text, args=(lines + "broken\n",))
    writer.start()
    written: list[int] = []
    record = generate_output.result_record

    def kept(row: Row, *rest: Any, **settings: Any) -> Any:
        written.append(int(bytes(row.record["id"])))
        return record(row, *rest, **settings)

    monkeypatch.setattr(generate_output, "result_record", kept)
    with pytest.raises(DataError, match=":5: "):
        tiny.run({"ignore_eos": True}, {"unordered": unordered}, jsonl=pipe)
    writer.join()
    assert written == ([3, 2, 1, 0] if unordered else [0, 1, 2, 3])


def test_a_plain_prompt_waits_for_nothing_that_it_does_not_need(shared_data: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from llmkit.engine.config import GenerateConfig\n"
        "from llmkit.workflows.generate.files import GenerateFiles\n"
        "from llmkit.workflows.generate.generate import generate_files\n"
        "files = GenerateFiles(model=Path(sys.argv[1]), prompt='Once')\n"
        "generate_files(files, GenerateConfig(sampling={'max_tokens': 2}, device='cpu'))\n"
        "print(*sys.modules, sep='\\n')"
    )
    folder = str(shared_data / "models" / "stories260K")
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, check=True, text=True)
    loaded = set(done.stdout.splitlines())
    assert "llmkit.engine.engine" in loaded
    for needless in (
        *("jinja2", "llguidance", "llmkit.server.answer", "llmkit.retrieve.search", "llmkit.train.config"),
        *("llmkit.workflows.tool.open", "llmkit.workflows.tool.talk", "llmkit.engine.cuda.runner"),
    ):
        assert needless not in loaded
