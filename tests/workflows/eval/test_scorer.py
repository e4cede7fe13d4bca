"""A model as a scorer, beside transformers' logits."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from llmkit.engine.config import Kernels, SamplingConfig
from llmkit.errors import DataError, MissingError, UsageError
from llmkit.kernels.library import available, why_not
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer

TEXTS = [
    "You must give any other recipients",
    "a",
    "of the Work or Derivative Works a copy of this License",
    "",
]
Make = Callable[..., Path]


def _logits(folder: Path, ids: list[int]) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(torch.tensor([ids])).logits[
            0
        ]


def test_every_token_but_the_first_has_transformers_score(scorer: Scorer, folder: Path) -> None:
    texts = [scorer.encoder.encode(text) for text in TEXTS]
    sampling = SamplingConfig(logprobs=3, max_tokens=1)
    asked = (replace(scorer.request(ids, sampling), scores_prompt="only") for ids in texts)
    for ids, found, short in zip(
        texts, scorer.run(asked), list(scorer.score((ids, 1) for ids in texts)), strict=True
    ):
        assert [one.id for one in short] == [one.id for one in found]
        for one, other in zip(short, found, strict=True):  # the short way adds up float32
            assert one.score is not None and other.score is not None
            assert one.score.logprob == pytest.approx(other.score.logprob, abs=1e-6)
        assert all(one.rank is None and one.entropy_bits is None and one.top == () for one in short)
        assert [one.id for one in found] == (ids[1:] if len(ids) > 1 else [])
        if not found:
            continue
        logprobs = _logits(folder, ids).log_softmax(-1)
        for place, one in enumerate(found):
            row = logprobs[place]
            assert one.score is not None and one.score.logprob == pytest.approx(float(row[one.id]), abs=1e-4)
            best = row.topk(3)
            assert [other.id for other in one.top] == best.indices.tolist()
            two = best.values[:2].exp()
            assert one.margin == pytest.approx(float(two[0] - two[1]), abs=1e-4)
            assert one.rank == 1 + int((row > row[one.id]).sum())
            entropy = float(-(row.exp() * row).sum()) / 0.6931471805599453
            assert one.entropy_bits == pytest.approx(entropy, abs=1e-3)


def test_a_text_as_long_as_the_context_is_scored_to_its_end_and_a_longer_one_refused(
    scorer: Scorer, folder: Path
) -> None:
    ids = (scorer.encoder.encode(TEXTS[2]) * 9)[: scorer.context + 1]
    (found,) = scorer.score([(ids[:-1], 1)])
    assert len(found) == scorer.context - 1
    expected = _logits(folder, ids[:-1]).log_softmax(-1)[-2, ids[-2]]
    assert found[-1].score is not None and found[-1].score.logprob == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(UsageError, match="context of 64"):
        list(scorer.score([(ids, 1)]))


def test_logits_are_all_rows_but_the_last_and_are_given_once(scorer: Scorer, folder: Path) -> None:
    ids = (scorer.encoder.encode(TEXTS[2]) * 9)[:60]
    for _ in range(2):
        rows = torch.cat(list(scorer.logits(ids)))
        assert torch.allclose(rows, _logits(folder, ids)[:-1], atol=1e-3)
    assert scorer.engine.on_rows is None and scorer.engine.is_idle


def test_where_angles_depend_on_length_logits_and_scores_are_those_of_one_pass(
    stretched: Path, kernels: Kernels
) -> None:
    scorer = open_scorer(ModelOptions(model=stretched, kernels=kernels))
    texts = [(scorer.encoder.encode(TEXTS[2]) * 9)[:length] for length in (60, 15, 16, 17, 40)]
    firsts = [1, 1, 1, 1, 20]
    for ids, first, found in zip(
        texts, firsts, scorer.score(list(zip(texts, firsts, strict=True))), strict=True
    ):
        expected = _logits(stretched, ids)[:-1]
        rows = torch.cat(list(scorer.logits(ids)))
        assert torch.allclose(rows, expected, atol=1e-3)
        logprobs = expected.log_softmax(-1)
        told = [one.score.logprob for one in found if one.score is not None]
        wanted = [float(logprobs[place - 1, ids[place]]) for place in range(first, len(ids))]
        assert told == pytest.approx(wanted, abs=1e-4)


def test_an_adapter_changes_the_scores_and_the_fingerprint(
    folder: Path, scorer: Scorer, tiny_adapter: Make
) -> None:
    from safetensors.torch import load_file, save_file

    path = tiny_adapter()
    weights = load_file(path / "adapter_model.safetensors")
    save_file({key: torch.ones_like(one) for key, one in weights.items()}, path / "adapter_model.safetensors")
    with_it = open_scorer(ModelOptions(model=folder, adapter=str(path)))
    ids = scorer.encoder.encode(TEXTS[0])
    (before,), (after,) = scorer.score([(ids, 1)]), with_it.score([(ids, 1)])
    assert before[0].score != after[0].score
    assert with_it.name == f"{folder}+adapter" and with_it.fingerprint != scorer.fingerprint


def test_a_fingerprint_is_of_the_files_and_of_how_they_run(folder: Path, scorer: Scorer) -> None:
    options = ModelOptions(model=folder)
    assert open_scorer(options).fingerprint == scorer.fingerprint
    assert open_scorer(replace(options, threads=1)).fingerprint == scorer.fingerprint
    assert open_scorer(replace(options, dtype="bfloat16")).fingerprint != scorer.fingerprint
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    assert open_scorer(options).fingerprint != scorer.fingerprint


@pytest.mark.skipif(not available(), reason=f"the native library {why_not()}")
def test_a_note_tells_of_rounded_activations_where_there_are_any(folder: Path) -> None:
    for options, told in ((ModelOptions(model=folder), 0), (ModelOptions(model=folder, weights="int8"), 1)):
        scorer = open_scorer(options)
        assert scorer.notes == ()
        list(scorer.score([(scorer.encoder.encode(TEXTS[0]), 1)]))
        assert len(scorer.notes) == told and all("--kernels torch does not" in one for one in scorer.notes)


def test_a_pair_is_encoded_as_lm_eval_encodes_it(scorer: Scorer) -> None:
    encode = scorer.encoder.encode
    ids, start = scorer.pair("You must give ", "any other")
    assert ids == encode("You must give any other") and ids[:start] == encode("You must give")
    ids, start = scorer.pair("", "any other")
    assert ids[0] == scorer.tokenizer.bos_id and (start, ids[1:]) == (1, encode("any other"))


def test_texts_are_written_and_scored_in_one_go(scorer: Scorer) -> None:
    ids = scorer.encoder.encode(TEXTS[0])
    request = scorer.request(ids, SamplingConfig(max_tokens=3, temperature=0.0, logprobs=1, ignore_eos=True))
    (found,) = scorer.run([replace(request, scores_prompt="too")])
    assert [one.given for one in found] == [True] * (len(ids) - 1) + [False] * 3
    assert all(one.score is not None for one in found)


def test_a_model_without_a_tokenizer_or_with_a_larger_one_is_refused(
    tiny_model: Make, spelled_model: Make
) -> None:
    with pytest.raises(MissingError, match="tokenizer"):
        open_scorer(ModelOptions(model=tiny_model()))
    with pytest.raises(DataError, match="599, the model 48 rows"):
        open_scorer(ModelOptions(model=spelled_model("small", vocab_size=48)))


def test_whether_bos_stands_before_a_text_is_the_tokenizers(scorer: Scorer, shared_data: Path) -> None:
    assert not scorer.adds_bos
    assert open_scorer(ModelOptions(model=shared_data / "models" / "stories260K")).adds_bos
