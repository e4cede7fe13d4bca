"""A few lines from a model in training."""

from llmkit.engine.completion import complete
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer


def sample(
    model: Transformer, tokenizer: Tokenizer, prompt: str, *, tokens: int, temperature: float, seed: int
) -> str:
    """Text after a prompt, as `llmkit generate` writes it; greedy at temperature 0.

    Draws nothing from the global random generator. A prompt that leaves no room in the context loses its
    beginning; an empty one starts from id 0 where the tokenizer has neither bos nor eos.
    """
    ids = PromptEncoder(tokenizer).encode(prompt) or [0]
    context = model.config.max_position_embeddings
    if len(ids) >= context:
        ids = ids[-max(1, context - tokens) :]
    sampling = SamplingConfig(max_tokens=tokens, temperature=temperature, seed=seed)
    model.eval()
    try:
        engine = Engine(model, EngineConfig(positions=len(ids) + tokens, max_texts=1))
        return complete(engine, Request(tuple(ids), sampling), tokenizer).text or ""
    finally:
        model.train()
