"""The options of `generate` and `chat` that keep what was read longer than the cache has room. No torch."""

from llmkit.engine.config import GenerateConfig
from llmkit.engine.state_memory import check_offload
from llmkit.errors import MissingError, UsageError
from llmkit.formats.atomic import refuse_unwritable
from llmkit.formats.streams import STDIO
from llmkit.model.config import ModelConfig
from llmkit.model.rope_scaling import depends_on_length
from llmkit.workflows.generate.files import GenerateFiles


def check_cache_options(files: GenerateFiles, config: GenerateConfig, model: ModelConfig) -> None:
    """Refuse what cannot be kept, or has nowhere to be kept.

    Raises:
        UsageError: the file is stdin, a folder or another file of the run, or cannot be written; or nothing
            read by this model can be used again; or an option that does nothing.
        MissingError: a file that is not to be written is not there.
    """
    path, read_only = files.prompt_cache, files.prompt_cache_read_only
    if read_only and path is None:
        raise UsageError("--prompt-cache-read-only does nothing without --prompt-cache", hint="name the file")
    if config.cache_offload < 0:
        raise UsageError(
            f"--cache-offload {config.cache_offload}: less than nothing", hint="--cache-offload 2GiB"
        )
    check_offload(model, config.cache_offload)
    asked = "--prompt-cache" if path is not None else "--cache-offload" if config.cache_offload else None
    if asked is not None and depends_on_length(model.rope_scaling):
        raise UsageError(
            f"{asked}: this model turns each position by the length of its text, so that nothing it has read "
            f"can be used again (found rope_scaling {(model.rope_scaling or {})['rope_type']})",
            hint=f"leave out {asked}",
        )
    if path is None:
        return
    others = (*files.inputs, files.out, files.rejects, files.model)
    if path == STDIO or path.is_dir() or any(path.resolve() == one.resolve() for one in others if one):
        raise UsageError(
            f"--prompt-cache {path}: not a file of its own", hint="--prompt-cache prompt.safetensors"
        )
    if read_only and not path.exists():
        raise MissingError(
            f"{path}: no such file", hint="leave out --prompt-cache-read-only: the first run writes it"
        )
    if not read_only:
        refuse_unwritable(path)
