"""What `llmkit generate` reads and where it writes."""

from dataclasses import dataclass
from pathlib import Path

from llmkit.engine.config import GenerateConfig
from llmkit.formats.partial_lines import may_be_done
from llmkit.workflows.tool.options import ToolOptions


@dataclass(frozen=True, kw_only=True)
class GenerateFiles:
    """What to read and where to write. One of `prompt`, `file` and `jsonl` is given."""

    model: Path
    tokenizer: Path | None = None
    """None: the one in the model's folder."""
    prompt: str | None = None
    file: Path | None = None
    """A file that is the prompt; `-` is stdin."""
    jsonl: Path | None = None
    """Rows with prompts; `-` is stdin."""
    template: Path | None = None
    """Makes the prompt of a row from its keys."""
    out: Path | None = None
    force: bool = False
    skip_bad: bool = False
    rejects: Path | None = None
    prompt_cache: Path | None = None
    """Where keys and values of earlier runs are found, and those of this one are kept."""
    prompt_cache_read_only: bool = False
    resume: bool = False
    """Whether records are kept where a run is interrupted, and it goes on from those of an earlier one."""
    tools: ToolOptions | None = None
    """What the model may call."""

    @property
    def inputs(self) -> list[Path]:
        """Files with prompts."""
        replay = None if self.tools is None else self.tools.replay
        return [path for path in (self.file, self.jsonl, self.template, replay) if path is not None]

    @property
    def every_input(self) -> list[Path]:
        """Also the model and its tokenizer: what no output may replace."""
        return [*self.inputs, self.model, *([] if self.tokenizer is None else [self.tokenizer])]

    def may_be_done(self, config: GenerateConfig) -> bool:
        """Whether --resume finds an output that a run like this has left whole; `check_done` looks closer.

        Never where each text is to have code: whether it has is counted as it is written.
        """
        is_kept = self.resume and not self.force and not config.extract_code
        return is_kept and self.out is not None and may_be_done(self.out)
