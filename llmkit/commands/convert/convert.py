"""llmkit convert: a model or adapter from one form to another."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.shared import DryRun, Force, JsonReport, LogEvery, MaxShardSize, print_report
from llmkit.errors import GateFailed
from llmkit.workflows.convert.options import ConvertConfig, Dtype, Form


def convert(
    ctx: typer.Context,
    model: Annotated[
        Path, Argument(metavar="IN", help="Model or adapter: folder, GGUF file; .bin of llama2.c.")
    ],
    out: Annotated[Path, Argument(metavar="OUT", help="Folder, or a file called NAME.gguf.")],
    to: Annotated[Form | None, Option("--to", help="Default: by OUT's suffix.")] = ConvertConfig.to,
    dtype: Annotated[
        Dtype | None,
        Option("--dtype", help="Of the weights; default: the model's. q8_0: GGUF's, norms stay float32."),
    ] = ConvertConfig.dtype,
    dequantize: Annotated[
        bool, Option("--dequantize", help="Make quantised weights plain numbers of the model's dtype.")
    ] = ConvertConfig.dequantize,
    max_shard_size: MaxShardSize = ConvertConfig.max_shard_bytes,
    tie: Annotated[
        bool | None, Option("--tie/--untie", help="Make the head the embedding, or a copy of it.")
    ] = ConvertConfig.tie,
    tokenizer: Annotated[
        Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the model's own.")
    ] = ConvertConfig.tokenizer,
    no_tokenizer: Annotated[bool, Option("--no-tokenizer", help="Leave the tokenizer out.")] = False,
    add_token: Annotated[
        list[str] | None,
        Option("--add-token", metavar="TEXT", help="A special token to learn later; repeatable."),
    ] = None,
    base: Annotated[
        Path | None,
        Option("--base", metavar="MODEL", help="Of an adapter; default: what it names, if that is here."),
    ] = ConvertConfig.base,
    check: Annotated[
        bool, Option("--check", help="Compare logits before and after; exit 1 when they differ.")
    ] = ConvertConfig.check,
    tolerance: Annotated[
        float | None,
        Option("--tolerance", metavar="X", min=0, help="Largest difference; default: measured, see above."),
    ] = ConvertConfig.tolerance,
    dry_run: DryRun = False,
    force: Force = False,
    log_every: LogEvery = 10.0,
    as_json: JsonReport = False,
) -> None:
    """Convert a model: Hugging Face folder to GGUF and back, dtype, shards.

    The tokenizer and its chat template go with it. With --dequantize or --dtype
    quantised weights become plain numbers: of GGUF files of any type (of a model in
    parts, NAME-00001-of-0000N.gguf, name the first), and of folders of
    compressed-tensors, GPTQ, AWQ, MLX, fp8, gpt-oss's MXFP4 and bitsandbytes' 4 bits.
    Q4_K_M and other narrow types are made by llmkit quantize.

    --check compares the model's logits with those of the copy. They may differ by
    four times as much as they do when random errors, as large as the dtype's
    rounding, are added to the weights: 2^-11 of a weight for float16, 2^-8 for
    bfloat16 and q8_0, 2^-24 where nothing is rounded.

    --add-token adds a token to the tokenizer, and the mean of all embeddings for it to
    the model, for finetune to go on from. --max-shard-size cuts a GGUF file into
    NAME-00001-of-0000N.gguf, as llama-gguf-split does.

    An adapter's folder (PEFT) becomes the GGUF file that llama.cpp's --lora
    reads, and such a file a folder; of --base the config is enough.

    \b
    Examples:
      llmkit convert run run.gguf --dtype q8_0 --check
      llmkit convert lora lora.gguf --base run
      llmkit convert run.gguf back --dtype float16
      llmkit convert run.gguf plain --dequantize
      llmkit convert run longer --add-token '<|call|>' --add-token '<|end|>'
      llmkit convert run half --dtype bfloat16 --max-shard-size 1GB --json
      llmkit convert run parts.gguf --max-shard-size 100k
    """
    session = ctx.obj
    config = ConvertConfig(
        to=to,
        dtype=dtype,
        dequantize=dequantize,
        max_shard_bytes=max_shard_size,
        tie=tie,
        tokenizer=tokenizer,
        carry_tokenizer=not no_tokenizer,
        add_tokens=tuple(add_token or ()),
        base=base,
        check=check,
        tolerance=tolerance,
    )
    config.form(out)
    from llmkit.commands.convert.text import check_text, convert_text
    from llmkit.commands.terminal import text_width
    from llmkit.workflows.convert.convert import convert as run
    from llmkit.workflows.convert.convert import plan_convert

    with session.console.progress("converting", log_every=log_every) as progress:
        if dry_run:
            report = plan_convert(model, out, config, force=force, invocation=session.invocation)
        else:
            report = run(model, out, config, force=force, invocation=session.invocation, progress=progress)
    quiet = session.console.quiet and not dry_run
    print_report(report, as_json, lambda one: convert_text(one, width=text_width()), quiet=quiet)
    if report.check is not None and not report.check.passed:
        raise GateFailed(
            f"{out}: {check_text(report.check)}; nothing was written",
            hint="a wider --dtype, or --tolerance if that is good enough",
        )
