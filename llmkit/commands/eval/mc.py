"""llmkit eval mc: multiple-choice questions."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.eval import flags
from llmkit.commands.flag_group import with_flag_groups
from llmkit.commands.sampling_flags import Batch, TokenizerPath
from llmkit.commands.shared import inputs_or_stdin
from llmkit.commands.values import parse_count
from llmkit.probe.evaluate.tasks_config import ChoiceFormChoice, ChoiceMetric, McConfig

Questions = Annotated[
    list[Path] | None, Argument(metavar="[QUESTIONS]", help="Jsonl of questions; - is stdin.")
]
FormName = Annotated[
    ChoiceFormChoice, Option("--form", help="Of the records; auto: by the first one's keys.")
]
Shots = Annotated[int, Option("--shots", min=0, metavar="N", help="Examples before each question.")]
Dev = Annotated[Path | None, Option("--dev", metavar="FILE", help="Examples; never the question itself.")]
By = Annotated[
    str | None,
    Option("--by", metavar="KEY", help="Whose values make groups.", show_default="subject, category"),
]
Metric = Annotated[ChoiceMetric, Option("--metric", help="What --min-accuracy and --baseline go by.")]
Limit = Annotated[
    int | None,
    Option("--limit", min=1, parser=parse_count, metavar="N", help="Questions at most, of each group."),
]
MinAccuracy = Annotated[float | None, Option("--min-accuracy", metavar="X", help="Exit 1 below it.")]


@with_flag_groups
def mc(
    ctx: typer.Context,
    *,
    model: flags.Model,
    questions: Questions = None,
    form: FormName = McConfig.form,
    shots: Shots = McConfig.shots,
    dev: Dev = None,
    by: By = None,
    limit: Limit = None,
    metric: Metric = McConfig.metric,
    min_accuracy: MinAccuracy = None,
    baseline: flags.Baseline = None,
    per_record: flags.PerRecord = None,
    tokenizer: TokenizerPath = None,
    running: flags.Running,
    batch: Batch = None,
    told: flags.Told,
) -> None:
    """Multiple choice: which answer the model finds most likely.

    \b
    Reads   {"question" or "prompt", "choices": […], "answer": 0, "A" or text},
            and records of MMLU, HellaSwag, ARC, TruthfulQA (mc1), LAMBADA
    Writes  acc, acc_norm (per character), acc_bytes (per byte); per record:
            index, id, group, correct, acc, acc_norm, acc_bytes, chosen,
            answer, logprobs, greedy, tokens

    Prompts, figures and errors are those of lm-evaluation-harness. LAMBADA has
    one continuation, right when each of its tokens is the model's own.

    \b
    Examples:
      llmkit eval mc run questions.jsonl --per-record mc.jsonl
      llmkit eval mc run questions.jsonl --shots 1 --dev questions.jsonl --json
    """
    from llmkit.commands.eval.text import mc_text
    from llmkit.workflows.eval.gates import check_limit, check_share
    from llmkit.workflows.eval.mc import eval_mc
    from llmkit.workflows.eval.mc_report import SCHEMA

    check_share(min_accuracy, "--min-accuracy")
    path = flags.one_file(inputs_or_stdin(questions, "llmkit eval mc MODEL questions.jsonl"), "questions")
    before = flags.read_baseline(baseline, SCHEMA, [path, dev], per_record)
    config = McConfig(form=form, shots=shots, by=by, metric=metric, limit=limit)
    session: Session = ctx.obj
    chosen = flags.model_options(model, running, tokenizer=tokenizer, batch=batch, plans=told.dry_run)
    evaluate = partial(
        eval_mc, chosen, path, config, dev=dev, per_record=per_record, force=told.force, before=before
    )
    report = flags.evaluated(session, evaluate, "asking", mc_text, told)
    if report is None:
        return
    check_limit(report.headline, min_accuracy, "--min-accuracy")
    flags.hold_to_baseline(session, report, before)
