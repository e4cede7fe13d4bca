"""--adapter from the flag to the texts: what is read, what is refused, and peft beside it."""

import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.engine.config import GenerateConfig
from llmkit.errors import DataError, LlmkitError, MissingError, UsageError
from llmkit.kernels.library import available
from llmkit.workflows.generate.adapter import open_adapters
from llmkit.workflows.generate.files import GenerateFiles
from llmkit.workflows.generate.generate import GenerateReport, generate_files, plan_generate

Make = Callable[..., Path]
GREEDY = {"temperature": 0.0, "max_tokens": 8, "ignore_eos": True}
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft's own call
KERNELS = ["torch", *(["native"] if available() else [])]


@pytest.mark.parametrize(
    ("given", "name", "strength"),
    [
        ("sql={path}", "sql", 1.0),
        ("sql={path}:0.5", "sql", 0.5),
        ("{path}:-2", "adapter", -2.0),
        ("{path}", "adapter", 1.0),
        ("{path}/", "adapter", 1.0),
    ],
)
def test_a_name_a_path_and_a_strength(tiny_adapter: Make, given: str, name: str, strength: float) -> None:
    path = tiny_adapter()
    (source,) = open_adapters([given.format(path=path)]).sources
    assert (source.name, source.path, source.strength) == (name, path, strength)


def test_a_folder_with_a_colon_or_an_equals_sign_in_its_name_is_a_folder(tiny_adapter: Make) -> None:
    path = tiny_adapter("run:3=b")
    (source,) = open_adapters([str(path)]).sources
    assert (source.name, source.path) == ("run:3=b", path)


def test_memory_is_that_of_its_float32_numbers(tiny_adapter: Make) -> None:
    assert open_adapters([str(tiny_adapter())]).nbytes == 2 * 4 * 2 * ((8 + 8) + (8 + 4))


@pytest.mark.parametrize(
    ("given", "kind", "problem"),
    [
        (["{path}", "b/../{path}"], MissingError, "no adapter"),
        (["{path}", "adapter={path}:2"], UsageError, "another one called 'adapter'"),
        (["x={path}:much"], UsageError, "'much' is no number"),
        (["x={path}:nan"], UsageError, "finite scale"),
        (["off={path}"], UsageError, "'off' is no name"),
        (["x=nowhere"], MissingError, "nowhere: no adapter .a folder with adapter_config.json"),
    ],
)
def test_what_names_no_adapter_is_refused(
    tiny_adapter: Make, given: list[str], kind: type[LlmkitError], problem: str
) -> None:
    path = tiny_adapter()
    with pytest.raises(kind, match=problem):
        open_adapters([one.format(path=path) for one in given])


class Bench:
    """A model without a tokenizer, and rows of tokens."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.report: GenerateReport | None = None

    def files(self, *rows: dict[str, Any]) -> GenerateFiles:
        path = self.model.parent / "rows.jsonl"
        path.write_text("".join(json.dumps({"tokens": [3, 1, 2, 5, 4, 6]} | row) + "\n" for row in rows))
        return GenerateFiles(model=self.model, jsonl=path, out=self.model.parent / "out", force=True)

    def write(self, *rows: dict[str, Any], **config: Any) -> list[dict[str, Any]]:
        files = self.files(*rows)
        sampling = GREEDY | config.pop("sampling", {})
        self.report = generate_files(files, GenerateConfig(sampling=sampling, **config))
        assert files.out is not None
        return [json.loads(line) for line in files.out.read_text().splitlines()]

    def ids(self, *rows: dict[str, Any], **config: Any) -> list[list[int]]:
        return [record["completion_ids"] for record in self.write(*rows, **config)]


@pytest.fixture
def tiny(tiny_model: Make) -> Bench:
    return Bench(tiny_model(vocab_size=64))


def peft_adapter(model: Path, name: str, seed: int, **settings: Any) -> tuple[Path, Any]:
    """An adapter as peft writes it, every number drawn; and the model that has it."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"], **settings
    )
    theirs = peft.get_peft_model(base, config).eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in theirs.named_parameters():
            if "lora_" in key:
                shift = 1.0 if "magnitude" in key else 0.0
                parameter.copy_(shift + 0.5 * torch.randn(parameter.shape, generator=draw))
    folder = model.parent / name
    theirs.save_pretrained(folder)
    return folder, theirs


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("dora", [False, True])
def test_log_probabilities_are_those_of_peft(tiny: Bench, kernels: str, dora: bool) -> None:
    import torch

    folder, theirs = peft_adapter(tiny.model, "x", 1, use_dora=dora)
    asked = {"adapters": (str(folder),), "kernels": kernels, "sampling": {"logprobs": 64}}
    (record,) = tiny.write({}, **asked)
    ids = torch.tensor([[3, 1, 2, 5, 4, 6, *record["completion_ids"]]])
    with torch.inference_mode():
        expected = theirs(ids).logits[0, 5:-1].log_softmax(-1)
    for token, row in zip(record["logprobs"], expected, strict=True):
        for one in token["top"]:
            assert math.isclose(one["logprob"], float(row[one["id"]]), abs_tol=1e-5)
        assert len(token["top"]) == 64


@pytest.mark.parametrize("kernels", KERNELS)
def test_rows_choose_among_adapters_and_the_base(tiny: Bench, kernels: str) -> None:
    adapters = [peft_adapter(tiny.model, name, seed)[0] for seed, name in enumerate("ab")]
    both = {"adapters": tuple(map(str, adapters)), "kernels": kernels}
    rows = [{"adapter": "a"}, {"adapter": "b"}, {"adapter": None}, {}, {"adapter": "a"}]
    a, b, base, unsaid, again = tiny.ids(*rows, **both)
    assert a == again == tiny.ids({}, adapters=(str(adapters[0]),), kernels=kernels)[0]
    assert b == tiny.ids({}, adapters=(str(adapters[1]),), kernels=kernels)[0]
    assert base == unsaid == tiny.ids({}, kernels=kernels)[0]
    assert len({tuple(one) for one in (a, b, base)}) == 3
    assert tiny.ids({"adapter": None}, adapters=(str(adapters[0]),), kernels=kernels) == [base]


def test_figures_name_each_adapter_and_what_computed(tiny: Bench) -> None:
    folder, _ = peft_adapter(tiny.model, "x", 1)
    tiny.write({}, {"adapter": None}, {}, adapters=(f"sql={folder}",), kernels="torch")
    assert tiny.report is not None
    stats = tiny.report.stats
    (use,) = stats.adapters
    assert (stats.kernels, use.name, use.texts) == ("torch", "sql", 2)
    assert use.memory_bytes == open_adapters([str(folder)]).nbytes
    plan = plan_generate(tiny.files({}), GenerateConfig(sampling=GREEDY, adapters=(str(folder),)))
    assert plan.adapter_bytes == use.memory_bytes


def test_a_row_with_an_unknown_name_is_told_those_there_are(tiny: Bench, tiny_adapter: Make) -> None:
    path = str(tiny_adapter())
    with pytest.raises(DataError, match=r"rows.jsonl:2: no adapter 'b' \(loaded: adapter\)"):
        tiny.write({}, {"adapter": "b"}, adapters=(path,))
    with pytest.raises(DataError, match="no adapter 'b': none is loaded"):
        tiny.write({"adapter": "b"})


def test_several_adapters_and_one_prompt_are_refused(
    tiny: Bench, tiny_adapter: Make, byte_level_dir: Path
) -> None:
    for file in byte_level_dir.iterdir():
        shutil.copy(file, tiny.model)
    path = tiny_adapter()
    config = GenerateConfig(sampling=GREEDY, adapters=(f"a={path}", f"b={path}"))
    with pytest.raises(UsageError, match="2 adapters and one prompt"):
        generate_files(GenerateFiles(model=tiny.model, prompt="a"), config)


def test_an_adapter_of_another_shape_is_refused_by_name(tiny: Bench, tiny_adapter: Make) -> None:
    with pytest.raises(LlmkitError, match=re.compile("q_proj|v_proj")):
        tiny.write({}, adapters=(str(tiny_adapter(width=12)),))


def test_a_prompt_cache_serves_the_adapter_that_filled_it(tiny: Bench, tmp_path: Path) -> None:
    from dataclasses import replace

    folder, _ = peft_adapter(tiny.model, "x", 1)
    row = {"tokens": list(range(1, 21))}

    def cached(adapter: str | None) -> int:
        files = replace(tiny.files(row | {"adapter": adapter}), prompt_cache=tmp_path / "cache")
        report = generate_files(files, GenerateConfig(sampling=GREEDY, adapters=(f"x={folder}",)))
        return report.stats.cached_tokens

    assert [cached("x"), cached("x"), cached(None)] == [0, 16, 0]


@pytest.mark.parametrize("kernels", KERNELS)
def test_a_gguf_file_of_an_adapter_writes_what_its_folder_does(
    tiny: Bench, as_gguf: Callable[[Path, Path], Path], kernels: str
) -> None:
    folder, _ = peft_adapter(tiny.model, "poet", seed=1)
    file = as_gguf(folder, tiny.model)
    (source,) = open_adapters([f"{file}:0.5"]).sources
    assert (source.name, source.strength) == ("poet", 0.5)
    assert source.nbytes == open_adapters([str(folder)]).nbytes
    plain, first, second = (
        tiny.ids({"logprobs": 2}, kernels=kernels, adapters=given)
        for given in ((), (str(folder),), (str(file),))
    )
    assert plain != first == second
