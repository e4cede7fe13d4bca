"""Models for the engine's tests: small random ones of any family, and the trained ones of the shared data."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from llmkit.model.config import ModelConfig
from llmkit.model.load import load_model
from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer
from llmkit.tokens.tokenizer import Tokenizer

TRAINED = ("char-gpt-shakespeare", "induction-2l1h", "stories-292K-early", "stories260K")
SIZES: dict[str, Any] = {
    **{"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3},
    **{"num_attention_heads": 4, "max_position_embeddings": 48},
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose tenfold where other work holds the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def bytes_only(tmp_path: Path) -> Tokenizer:
    """257 tokens: every byte, and the end."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Backend(models.BPE(vocab={letter: one for one, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<end>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    return load_tokenizer(tmp_path)


@pytest.fixture
def make_model() -> Callable[..., Transformer]:
    """A model whose every weight and bias is drawn, norms' too: nothing is zero or one by chance."""

    def make(**fields: Any) -> Transformer:
        model = Transformer(ModelConfig(**(SIZES | fields))).eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.normal_(0.0, 0.3, generator=generator)
                if parameter.dim() == 1 and name.endswith("weight"):
                    parameter.add_(1.0)
        return model

    return make


@pytest.fixture(params=TRAINED)
def trained(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    """The folder of each trained model in turn."""
    return shared_data / "models" / request.param


@pytest.fixture
def stories(shared_data: Path) -> Transformer:
    """A trained model that writes stories."""
    return load_model(shared_data / "models" / "stories260K")
