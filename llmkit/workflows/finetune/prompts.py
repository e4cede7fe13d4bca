"""What GRPO starts from: the prompts of records of any shape, as ids that a model goes on from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmkit.errors import DataError, MissingError
from llmkit.formats.jsonl import decode_all
from llmkit.progress import SILENT, Progress
from llmkit.tokens.audit import AuditReport, ExampleError, Fault
from llmkit.tokens.examples import Conversation
from llmkit.tokens.prompt import PromptEncoder
from llmkit.tokens.supervise import Supervisor
from llmkit.tokens.supervise_config import SuperviseConfig
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.tokens.tools.records import RecordTurns
from llmkit.train.rollout import Prompt
from llmkit.workflows.finetune.audit import RejectLog, nothing_left
from llmkit.workflows.finetune.stream import Side, Stream
from llmkit.workflows.pretrain.data import spooled_files


@dataclass(frozen=True)
class Prompts:
    """Prompts with their records, and what the audit found."""

    prompts: list[Prompt]
    audit: AuditReport
    sha256: str


def open_prompts(
    paths: Sequence[Path],
    tokenizer: Tokenizer,
    config: SuperviseConfig,
    *,
    max_tokens: int,
    side: Side = "all",
    cache: Path,
    log: RejectLog | None = None,
    progress: Progress = SILENT,
) -> Prompts:
    """The prompts of some records, in memory; answers that came with them are left out.

    Args:
        paths, tokenizer, config: as for `open_examples`.
        max_tokens: most of a prompt, where `config` does not say. A longer one is left out, or an error
            under `--long error`: a prompt without its end asks something else.
        side, cache, log, progress: as for `open_examples`.

    Raises:
        DataError, MissingError: as `open_examples`.
    """
    limit = config.max_tokens or max_tokens
    log = log or RejectLog()
    stream = Stream(
        supervisor=Supervisor(tokenizer), kind="prompt", config=config, limit=limit, side=side, log=log
    )
    encoder, turns = PromptEncoder(tokenizer), RecordTurns(tokenizer)
    prompts: list[Prompt] = []
    with spooled_files(paths, cache) as (files, digest):
        for line, _, example in stream.found(files):
            try:
                ids = _encode(encoder, turns, tokenizer, example.answers[0])
            except ExampleError as error:
                stream.take(line, [error.fault])
                continue
            except MissingError as error:
                raise MissingError(f"{line.where}: {error.problem}", hint=error.hint) from None
            if len(ids) > limit:
                problem = f"a prompt of {len(ids):,} tokens, {limit:,} are the most"
                if config.long == "error":
                    raise DataError(f"{line.where}: {problem}", hint=f"--max-tokens {len(ids)}")
                stream.take(line, [Fault("long.dropped", problem, float(len(ids)), float(limit))])
                continue
            stream.audit.examples += 1
            stream.audit.take_tokens(len(ids), 0, 0)
            prompts.append(Prompt(ids, decode_all(line)))
            if len(prompts) % 256 == 0:
                progress.update(len(prompts), prompts=f"{len(prompts):,}")
    if not prompts:
        raise nothing_left(stream.audit.report())
    return Prompts(prompts, stream.audit.report(), digest)


def _encode(
    encoder: PromptEncoder, turns: RecordTurns, tokenizer: Tokenizer, prompt: Conversation
) -> list[int]:
    """The ids that an answer is written after.

    Raises:
        MissingError: messages, and no chat template.
        ExampleError: the template refuses them, or a call in them has no known form.
    """
    if prompt.messages and (tokenizer.chat_template is not None or prompt.plain is None):
        told = turns.tell(prompt.messages, prompt.tools)
        try:
            text = encoder.render(told.messages, told.tools)
        except DataError as error:
            raise ExampleError("template.refused", error.problem, hint=error.hint) from None
        return encoder.encode_rendered(text)
    return encoder.encode((prompt.plain or ("", ""))[0])
