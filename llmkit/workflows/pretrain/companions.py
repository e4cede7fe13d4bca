"""What goes with a model that is trained on and stays true: how it is sampled, how vectors are made of it."""

from pathlib import Path

from llmkit.formats.gguf.magic import is_gguf
from llmkit.formats.sentence_modules import copy_steps, step_files
from llmkit.model.pooling import read_pooling, write_pooling
from llmkit.model.source import read_model_generation
from llmkit.train.state import MODEL_FILES, WHOLE_MODEL, Product


def whole_model(weights: Path | None) -> Product:
    """What a run makes that trains a model itself; what cannot be kept of it is found now.

    Args:
        weights: the folder or GGUF file that it goes on from; None: they are drawn.

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
    return Product(MODEL_FILES, generation=generation)


def keep_steps(weights: Path | None, folder: Path, width: int) -> None:
    """Put into a folder how vectors are made of a model, where that is told.

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
