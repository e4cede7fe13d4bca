"""What a trained model inherits from the one it goes on from: how it is sampled, how it makes vectors."""

from pathlib import Path

from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.sentence_modules import copy_steps, step_files
from llmkit.model.pooling import read_pooling, write_pooling
from llmkit.model.source import read_model_generation
from llmkit.model.stretched import read_shape
from llmkit.train.state import MODEL_FILES, WHOLE_MODEL, Product
from llmkit.workflows.stop_tokens import with_turn_end


def whole_model(weights: Path | None, turn_end: int | None = None) -> Product:
    """What a run makes that trains all weights; what the first model has and cannot be kept is refused now.

    Args:
        weights: the folder or GGUF file that it goes on from; None: they are drawn.
        turn_end: the token that ends an answer in what it learns. It is told as one that stops the model:
            programs that take the chat template as it is do not know where an answer ends in it.

    Raises:
        ConfigError: vectors are made in a way that is not supported, so that it cannot be written.
        DataError: a file is damaged.
    """
    if weights is None:
        return WHOLE_MODEL
    if is_gguf(weights):
        read_pooling(weights)
    else:
        step_files(weights)
    generation, _ = read_model_generation(weights)
    stops = read_shape(weights).eos_token_ids
    return Product(MODEL_FILES, generation=with_turn_end(generation, stops, turn_end))


def keep_steps(weights: Path | None, folder: Path, width: int) -> None:
    """Copy into a folder how a model makes vectors, where its files say so.

    Args:
        weights: see `whole_model`.
        folder: of the model that goes on from it.
        width: numbers of a vector.
    """
    if weights is None:
        return
    if is_gguf(weights):
        write_pooling(folder, read_pooling(weights), width)
    else:
        copy_steps(weights, folder)
