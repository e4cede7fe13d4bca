"""A few lines from a model in training."""

import torch

from llmkit.model.cache import KVCache
from llmkit.model.transformer import Transformer
from llmkit.tokens.tokenizer import Tokenizer


@torch.no_grad()
def sample(
    model: Transformer, tokenizer: Tokenizer, prompt: str, *, tokens: int, temperature: float, seed: int
) -> str:
    """Text after a prompt; greedy at temperature 0. Draws nothing from the global random generator."""
    config = model.config
    ids = tokenizer.encode(prompt, special_tokens=True) or [tokenizer.bos_id or tokenizer.eos_id or 0]
    room = config.max_position_embeddings - len(ids)
    device = next(model.parameters()).device
    cache = KVCache(config, 1, len(ids) + max(0, min(tokens, room)), device=device)
    generator = torch.Generator().manual_seed(seed)
    new = torch.tensor([ids[: config.max_position_embeddings]], device=device)
    written: list[int] = []
    model.eval()
    for _ in range(min(tokens, room)):
        logits = model(new, cache=cache)[0, -1].float().cpu()
        token = _draw(logits, temperature, generator)
        if token in config.eos_token_ids:
            break
        written.append(token)
        new = torch.tensor([[token]], device=device)
    model.train()
    return tokenizer.decode(written)


def _draw(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, dim=-1), 1, generator=generator))
