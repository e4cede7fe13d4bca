"""A tokenizer of bytes whose template speaks Mistral's form of calls, and a random model for it."""

from pathlib import Path
from typing import Any

import torch

from llmkit.model.config import ModelConfig
from llmkit.model.transformer import Transformer
from llmkit.tokens.load import load_tokenizer

FIELDS: dict[str, Any] = {
    **{"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2},
    **{"num_attention_heads": 4, "num_key_value_heads": 2},
}
TEMPLATE = (
    "{% for tool in tools or [] %}{{ tool.function.name }}: {{ tool.function.description }}\n{% endfor %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% for call in message.tool_calls or [] %}[TOOL_CALLS][{{ call.function | tojson }}]{% endfor %}"
    "<|end|>{% endfor %}"
)


def calling_folder(made: Path) -> Path:
    """The tokenizer's folder."""
    import tokenizers
    from tokenizers import decoders, models, pre_tokenizers, trainers

    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|end|>", "[TOOL_CALLS]"]
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=special, show_progress=False)
    backend.train_from_iterator([], trainer)
    backend.save(str(made / "tokenizer.json"))
    (made / "tokenizer_config.json").write_text('{"eos_token": "<|end|>"}')
    (made / "chat_template.jinja").write_text(TEMPLATE)
    return made


def calling_model(folder: Path, positions: int) -> Transformer:
    """The model, the same in every run."""
    torch.set_num_threads(1)
    config = ModelConfig(
        vocab_size=load_tokenizer(folder).vocab_size, max_position_embeddings=positions, **FIELDS
    )
    made = Transformer(config).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0.5 if parameter.dim() == 1 else 0.0, 0.3, generator=generator)
    return made
