"""transformers as the peer: the same weights in memory, the same text, the same kind of update."""

from pathlib import Path

import pytest
import torch

from llmkit.errors import MissingError, UsageError
from llmkit.model.init import initialise
from llmkit.model.presets import preset
from llmkit.model.transformer import Transformer
from llmkit.workflows.bench import peer as bench_peer
from llmkit.workflows.bench.peer import PeerText, as_transformers, check_peer, peer_library, peer_name

pytest.importorskip("transformers")


def _model(name: str) -> Transformer:
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "vocab_size": 64, "num_attention_heads": 2}
    if name != "gpt2":
        sizes |= {"num_key_value_heads": 1, "head_dim": 16}
    model = Transformer(preset(name, **sizes))
    initialise(model, torch.Generator().manual_seed(0))
    return model.eval()


@pytest.mark.parametrize("name", ["tiny", "stories15m", "gpt2"])
def test_the_peer_computes_the_same_scores_from_the_same_memory(name: str) -> None:
    model = _model(name)
    peer = as_transformers(model)
    ids = torch.randint(64, (2, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert torch.allclose(peer(ids).logits, model(ids), atol=1e-5)
    embedding = peer.get_input_embeddings().weight
    assert embedding.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_a_text_goes_on_from_what_is_held_in_every_run() -> None:
    model = _model("tiny")
    ids = torch.randint(64, (1, 7), generator=torch.Generator().manual_seed(1))
    text = PeerText(as_transformers(model), ids)
    assert text.next_token is not None
    expected = torch.cat((ids, text.next_token), 1)
    with torch.inference_mode():
        assert int(text.next_token) == int(model(ids)[0, -1].argmax())
        for _ in range(4):  # without a cache, the slow way
            expected = torch.cat((expected, model(expected)[:, -1:].argmax(-1)), 1)
    for _ in range(2):
        text.prepare()
        assert text.write(expected[:, :8], 4).tolist() == expected[:, 8:].tolist()


def test_generate_makes_one_pass_for_each_new_token() -> None:
    peer = as_transformers(_model("tiny"))
    text = PeerText(peer, torch.zeros(1, 5, dtype=torch.long))
    passes: list[tuple[int, ...]] = []
    peer.register_forward_hook(
        lambda _, args, given, out: passes.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    text.prepare()
    text.write(torch.zeros(1, 6, dtype=torch.long), 3)
    assert passes == [(1, 1)] * 3


def test_a_peer_that_is_not_installed_is_missing_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_peer("transformers", "train", ["stored"])
    monkeypatch.setattr(bench_peer, "find_spec", lambda name: None)
    check_peer(None, "decode", ["int4"])
    with pytest.raises(MissingError) as caught:
        check_peer("transformers", "decode", ["stored"])
    assert caught.value.hint == "pip install transformers"


def test_a_peer_that_cannot_do_what_is_asked_is_refused(tmp_path: Path) -> None:
    library = tmp_path / "libllama.so"
    library.touch()
    check_peer(f"llama.cpp:{library}", "decode", ["stored", "int4"])
    assert peer_name(f"llama.cpp:{library}") == "llama.cpp" and peer_name(None) is None
    assert peer_library(f"llama.cpp:{library}") == library and peer_library("transformers") is None
    with pytest.raises(UsageError, match="it has no bench train here"):
        check_peer(f"llama.cpp:{library}", "train", ["stored"])
    with pytest.raises(UsageError, match="it has no int4 weights here"):
        check_peer("transformers", "decode", ["int4"])
    for name in ("mlx", "transformers:5", "llama.cpp:"):
        with pytest.raises(UsageError, match="no such peer"):
            peer_name(name)
