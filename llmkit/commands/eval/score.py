"""llmkit eval score: outputs against answers."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from typer import Argument, Option

from llmkit.commands.eval import flags
from llmkit.commands.shared import Force, JsonReport, inputs_or_stdin, print_report
from llmkit.probe.evaluate.config import Match, ScoreConfig

Outputs = Annotated[
    Path | None, Argument(metavar="[OUTPUTS]", help="Jsonl with outputs and answers; - is stdin.")
]
MatchName = Annotated[
    Match, Option("--match", "-m", metavar="HOW", help="What makes an output right; see above.")
]
OutputField = Annotated[str, Option("--output-field", metavar="KEY", help="The key of the output.")]
AnswerField = Annotated[str, Option("--answer-field", metavar="KEY", help="The key of the answer.")]
Answers = Annotated[
    Path | None, Option("--answers", metavar="FILE", help="Jsonl of answers by id; no output: wrong.")
]
Extract = Annotated[
    str | None, Option("--extract", metavar="REGEX", help="Judge what it finds: its group, or all.")
]
Which = Annotated[Literal["first", "last"], Option("--which", help="Of the places that --extract finds.")]
IgnoreCase = Annotated[bool, Option("--ignore-case", "-i", help="In exact, contains and regex.")]
By = Annotated[str | None, Option("--by", metavar="KEY", help="Also the mean of each of its values.")]
MinScore = Annotated[
    float | None, Option("--min-score", "--min-accuracy", metavar="X", help="Exit 1 below it.")
]


def score(
    ctx: typer.Context,
    outputs: Outputs = None,
    match: MatchName = ScoreConfig.match,
    output_field: OutputField = ScoreConfig.output_field,
    answer_field: AnswerField = ScoreConfig.answer_field,
    answers: Answers = None,
    extract: Extract = None,
    which: Which = ScoreConfig.which,
    ignore_case: IgnoreCase = ScoreConfig.ignore_case,
    by: By = None,
    min_score: MinScore = None,
    baseline: flags.Baseline = None,
    per_record: flags.PerRecord = None,
    as_json: JsonReport = False,
    force: Force = False,
) -> None:
    """Score outputs that are there already; no model is read.

    \b
    Reads   {"completion": TEXT, "answer": TEXT|NUMBER|[…], ...}
    Writes  the share that is right, with Wilson's interval; per record: index,
            id, score, correct, found, answer

    \b
    exact         equal but for space at the ends
    normalized    equal without case, punctuation, articles (SQuAD)
    contains      the answer is in the output; -any: one of the answers
    contains-all  share of the answers in the output, any case (RULER)
    regex         the answer, a regular expression, is found in the output
    number        the last number of both is equal: 1,000 is 1000.0
    gsm8k         the number behind "#### " in the output
    choice        the letter chosen; answers are letters, or numbers from 0
    f1            words in common (SQuAD)

    To --extract ^ and $ are at each line, and . stays within it; with (?s) it
    does not. The first of its groups that matched something is judged.

    Answers without an output are wrong. --by has them in the group of their own
    record's KEY, or in "(no output)".

    \b
    Examples:
      echo '{"completion": "It is 4", "answer": 4}' | llmkit eval score -m number
      llmkit eval score docs.jsonl --output-field text --answer-field id --json
    """
    from llmkit.commands.eval.text import score_text
    from llmkit.workflows.eval.gates import check_limit, check_share
    from llmkit.workflows.eval.score import SCHEMA, eval_score

    check_share(min_score, "--min-score")
    usage = "llmkit eval score OUTPUTS.jsonl --match exact"
    (path,) = inputs_or_stdin(None if outputs is None else [outputs], usage)
    before = flags.read_baseline(baseline, SCHEMA, [path, answers], per_record)
    config = ScoreConfig(
        match=match,
        output_field=output_field,
        answer_field=answer_field,
        extract=extract,
        which=which,
        ignore_case=ignore_case,
    )
    report = eval_score(
        path, config, answers=answers, by=by, per_record=per_record, force=force, before=before
    )
    print_report(report, as_json, score_text)
    check_limit(report.headline, min_score, "--min-score")
    flags.hold_to_baseline(ctx.obj, report, before)
