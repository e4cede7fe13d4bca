"""llmkit eval gen: answers that a model writes."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.bench.flags import expand_sizes, list_of
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import Batch, TokenizerPath
from llmkit.commands.shared import Seed, inputs_or_stdin
from llmkit.commands.values import parse_count, parse_seconds
from llmkit.probe.evaluate.config import Match
from llmkit.probe.evaluate.tasks_config import GenConfig, WrittenFormChoice

Default = GenConfig
Tasks = Annotated[list[Path] | None, Argument(metavar="[TASKS]", help="Jsonl of tasks; - is stdin.")]
FormName = Annotated[WrittenFormChoice, Option("--form", help="Of the records; auto: by their keys.")]
MatchName = Annotated[
    Match | None,
    Option("--match", "-m", metavar="HOW", help="As of eval score.", show_default="gsm8k there, else exact"),
]
Extract = Annotated[
    str | None, Option("--extract", metavar="REGEX", help="Judge what it finds last: its group, or all.")
]
Verify = Annotated[
    str | None, Option("--verify", metavar="CMD", help="Judge: JSON on its stdin, right when it exits 0.")
]
VerifyTimeout = Annotated[
    float, Option("--verify-timeout", parser=parse_seconds, metavar="TIME", help="Then the answer is wrong.")
]
VerifyJobs = Annotated[int, Option("--verify-jobs", min=1, metavar="N", help="Such commands at a time.")]
Shots = Annotated[int, Option("--shots", min=0, metavar="N", help="Examples before each task.")]
Dev = Annotated[Path | None, Option("--dev", metavar="FILE", help="Examples; never the task itself.")]
Samples = Annotated[int, Option("--samples", min=1, metavar="N", help="Texts of each task.")]
PassAt = Annotated[
    str, Option("--pass-at", metavar="LIST", parser=list_of(expand_sizes), help="k of pass@k, such as 1,10.")
]
Limit = Annotated[
    int | None, Option("--limit", min=1, parser=parse_count, metavar="N", help="Tasks at most.")
]
MaxTokens = Annotated[
    int | None,
    Option("--max-tokens", min=1, metavar="N", help="Of an answer.", show_default="256; 512 of a program"),
]
Temperature = Annotated[
    float, Option("--temperature", min=0.0, metavar="X", help="0: the best token always.")
]
TopK = Annotated[int, Option("--top-k", min=0, metavar="N", help="Of the N best tokens only; 0: off.")]
TopP = Annotated[float, Option("--top-p", metavar="X", help="Of the best that have X together; 1: off.")]
MinP = Annotated[float, Option("--min-p", metavar="X", help="Of those X as likely as the best; 0: off.")]
Stop = Annotated[
    list[str] | None,
    Option("--stop", metavar="TEXT", help="Ends an answer. Repeatable.", show_default="the form's"),
]
Chat = Annotated[bool, Option("--chat", help="Each task is a user's message.")]
MinAccuracy = Annotated[
    float | None, Option("--min-accuracy", metavar="X", help="Exit 1 when the first pass@k is below.")
]


@with_flag_groups
def gen(
    ctx: typer.Context,
    *,
    model: flags.Model,
    tasks: Tasks = None,
    form: FormName = Default.form,
    match: MatchName = None,
    extract: Extract = None,
    verify: Verify = None,
    verify_timeout: VerifyTimeout = Default.verify_seconds,
    verify_jobs: VerifyJobs = Default.verify_jobs,
    shots: Shots = Default.shots,
    dev: Dev = None,
    samples: Samples = Default.samples,
    pass_at: PassAt = "1",
    limit: Limit = None,
    max_tokens: MaxTokens = None,
    temperature: Temperature = Default.temperature,
    top_k: TopK = Default.top_k,
    top_p: TopP = Default.top_p,
    min_p: MinP = Default.min_p,
    stop: Stop = None,
    chat: Chat = Default.chat,
    seed: Seed = Default.seed,
    min_accuracy: MinAccuracy = None,
    baseline: flags.Baseline = None,
    per_record: flags.PerRecord = None,
    tokenizer: TokenizerPath = None,
    running: flags.Running,
    batch: Batch = None,
    told: flags.Told,
) -> None:
    """Written answers: compared with the right ones, or tried by your command.

    \b
    Reads   {"prompt" or "question", "answer"}, GSM8K, HumanEval
    Writes  pass@k (unbiased) and the mean score; per record: index, id, task,
            sample, completion, tokens, finish_reason, score, correct, found

    What a model wrote is never run here. --verify starts CMD for each answer,
    gives it the task's record with "completion" (and of HumanEval "program")
    as one line of JSON, and goes by its exit status: put a sandbox into CMD.

    To --extract ^ and $ are at each line, and . stays within it; with (?s) it
    does not. The first of its groups that matched something is judged.

    \b
    Examples:
      llmkit eval gen run tasks.jsonl --max-tokens 8 -m number --json
      llmkit eval gen run tasks.jsonl --max-tokens 8 --verify 'grep -q 4'
    """
    from llmkit.commands.eval.text import gen_text
    from llmkit.workflows.eval.gates import check_limit, check_share
    from llmkit.workflows.eval.gen import SCHEMA, eval_gen

    check_share(min_accuracy, "--min-accuracy")
    path = flags.one_file(inputs_or_stdin(tasks, "llmkit eval gen MODEL tasks.jsonl"), "tasks")
    before = flags.read_baseline(baseline, SCHEMA, [path, dev], per_record)
    config = GenConfig(
        form=form, match=match, extract=extract, verify=verify, verify_seconds=verify_timeout,
        verify_jobs=verify_jobs, shots=shots, samples=samples, ks=expand_sizes(pass_at), limit=limit,
        max_tokens=max_tokens, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p,
        stop=None if stop is None else tuple(stop), chat=chat, seed=seed,
    )  # fmt: skip
    chosen = flags.model_options(model, running, tokenizer=tokenizer, batch=batch, plans=told.dry_run)
    session: Session = ctx.obj
    evaluate = partial(
        eval_gen, chosen, path, config, dev=dev, per_record=per_record, force=told.force, before=before
    )
    report = flags.evaluated(session, evaluate, "writing", gen_text, told)
    if report is None:
        return
    check_limit(report.headline, min_accuracy, "--min-accuracy")
    flags.hold_to_baseline(session, report, before)
