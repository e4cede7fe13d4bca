"""Texts from a model in training: a few lines to look at, or answers to learn from."""

from collections.abc import Sequence

import torch

from llmkit.engine.completion import Completion, complete_all
from llmkit.engine.config import SamplingConfig
from llmkit.engine.engine import Engine, EngineConfig
from llmkit.engine.request import Request
from llmkit.estimate.architecture_of import architecture_of
from llmkit.model.transformer import Transformer
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.train.hardware import choose_threads, threads_set


def sample(
    model: Transformer, tokenizer: Tokenizer, prompt: str, *, tokens: int, temperature: float, seed: int
) -> str:
    """Text after a prompt, as `llmkit generate` writes it; greedy at temperature 0.

    Draws nothing from the global random generator. A prompt that leaves no room in the context loses its
    beginning; an empty one starts from id 0 where the tokenizer has neither bos nor eos.
    """
    ids = PromptEncoder(tokenizer).encode(prompt) or [0]
    sampling = SamplingConfig(max_tokens=tokens, temperature=temperature, seed=seed)
    request = Request(tuple(shorten(ids, model, tokens)), sampling)
    return write_texts(model, tokenizer, [request])[0].text or ""


def shorten(ids: list[int], model: Transformer, tokens: int) -> list[int]:
    """A prompt without its beginning, where it would leave no room for `tokens` more."""
    context = model.config.max_position_embeddings
    return ids if len(ids) < context else ids[-max(1, context - tokens) :]


def write_texts(
    model: Transformer, tokenizer: Tokenizer, requests: Sequence[Request], *, max_texts: int = 1
) -> list[Completion]:
    """What a model writes for some requests, in their order.

    A pass for one id of each text is less work than one of training: where it is too little to share, one
    thread does it, and the caller's own number is put back.

    Args:
        model: put back into training mode where it was in it.
        tokenizer: its.
        requests: what to write.
        max_texts: at work at once.
    """
    needed = max(len(one.prompt) + one.sampling.max_tokens for one in requests)
    flops = 2.0 * max_texts * architecture_of(model.config).active_parameters
    was_training = model.training
    model.eval()
    try:
        with threads_set(choose_threads(None, torch.get_num_threads(), flops)):
            engine = Engine(model, EngineConfig(positions=needed * max_texts, max_texts=max_texts))
            pieces = complete_all(engine, requests, tokenizer)
            return [piece.completion for piece in pieces if piece.completion is not None]
    finally:
        model.train(was_training)
