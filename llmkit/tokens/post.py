"""What a tokenizer puts around a text when special tokens are asked for: its post-processor."""

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing


def add_around(backend: Tokenizer, bos: str | None, eos: str | None) -> None:
    """Put `bos` before and `eos` after a text encoded with special tokens; None puts nothing there.

    Both must be in the vocabulary. Of a pair of texts, each is enclosed.
    """
    single = " ".join(token for token in (bos and f"{bos}:0", "$A:0", eos and f"{eos}:0") if token)
    second = " ".join(token for token in (bos and f"{bos}:1", "$B:1", eos and f"{eos}:1") if token)
    special = [(token, backend.token_to_id(token)) for token in dict.fromkeys((bos, eos)) if token]
    if special:
        backend.post_processor = TemplateProcessing(
            single=single, pair=f"{single} {second}", special_tokens=special
        )
