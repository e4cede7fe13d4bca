"""The flags of `llmkit quantize` alone: types, text, what is only looked at, and when to refuse."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from llmkit.commands.values import MOST_AT_ONCE, parse_count, parse_size
from llmkit.errors import UsageError
from llmkit.workflows.quantize.options import Container, QuantizeConfig
from llmkit.workflows.quantize.options import Method as MethodName

Model = Annotated[Path, Argument(metavar="IN", help="Model folder or GGUF file of plain numbers.")]
Output = Annotated[
    Path | None, Argument(metavar="OUT", help="Folder, or NAME.gguf; without it nothing is written.")
]
Out = Annotated[Path | None, Option("--out", "-o", metavar="OUT", help="The same, as an option.")]
Kind = Annotated[
    str | None,
    Option("--type", metavar="NAME", help="Q4_K_M, Q6_K, …; or int4-g128, …", show_default="by --bits"),
]
Bits = Annotated[
    int | None, Option(metavar="N", help="The container's usual type of so many.", show_default="4")
]
Group = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Weights that share a scale.", show_default="as the container's type"),
]
Format = Annotated[
    Container | None, Option("--format", help="Default: gguf by OUT's suffix, else compressed-tensors.")
]
Method = Annotated[MethodName, Option("--method", help="nearest; feedback makes up for each error (GPTQ).")]
Scale = Annotated[
    bool, Option("--scale", help="Scale columns by what they read, norms take the inverse (AWQ).")
]
TokenizerPath = Annotated[
    Path | None, Option("--tokenizer", "-t", metavar="PATH", help="In place of the model's own.")
]
NoTokenizer = Annotated[
    bool, Option("--no-tokenizer", help="Leave the tokenizer out; -t is for the text alone.")
]
Resume = Annotated[bool, Option("--resume", help="Keep what is rounded when stopped, and go on from it.")]
Threads = Annotated[
    int | None,
    Option(min=1, max=MOST_AT_ONCE, metavar="N", help="Cores to use.", show_default="OMP_NUM_THREADS, all"),
]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The text that errors are weighed by, and the text that is scored before and after."""

    calibration: Annotated[
        list[Path] | None,
        Option(
            "--calibration",
            "--calib",
            "-c",
            metavar="FILE",
            help="Text to weigh errors by; -: stdin. Repeatable.",
        ),
    ] = None
    calibration_tokens: Annotated[
        int, Option(parser=parse_count, metavar="N", help="Of it, drawn from all over.")
    ] = QuantizeConfig.calibration_tokens
    imatrix: Annotated[
        Path | None, Option(metavar="FILE", help="llama.cpp's importance matrix in place of that text.")
    ] = QuantizeConfig.imatrix
    score: Annotated[
        list[Path] | None,
        Option(metavar="FILE", help="Text to score; default: other rows of --calibration. Repeatable."),
    ] = None
    score_tokens: Annotated[int, Option(parser=parse_count, metavar="N", help="Of it.")] = (
        QuantizeConfig.score_tokens
    )
    seq_len: Annotated[
        int, Option(min=8, parser=parse_count, metavar="N", help="Tokens of a row of text.")
    ] = QuantizeConfig.seq_len

    def settings(self) -> dict[str, Any]:
        """As QuantizeConfig has them."""
        texts = {"calibration": tuple(self.calibration or ()), "score": tuple(self.score or ())}
        return {**vars(self), **texts}


@dataclass(frozen=True, kw_only=True)
class Mixing:
    """Types that some matrices have in place of the type's own: named, or by what they cost."""

    embeddings: Annotated[
        str | None,
        Option(
            metavar="NAME", help="Type of the embedding: Q8_0, F16, ….", show_default="by the type's rule"
        ),
    ] = QuantizeConfig.embeddings
    head: Annotated[
        str | None, Option(metavar="NAME", help="The same of the head.", show_default="by the type's rule")
    ] = QuantizeConfig.head
    tensor: Annotated[
        list[str] | None,
        Option(metavar="REGEX=NAME", help="Type of matrices by name; the last counts. Repeatable."),
    ] = None
    budget_bpw: Annotated[
        float | None, Option(metavar="X", min=0, help="Bits a weight: types by measured sensitivity.")
    ] = QuantizeConfig.budget_bpw
    fit: Annotated[
        int | None, Option(parser=parse_size, metavar="SIZE", help="The same, by the size of the files.")
    ] = QuantizeConfig.fit_bytes

    def settings(self) -> dict[str, Any]:
        """As QuantizeConfig has them."""
        return {
            "embeddings": self.embeddings,
            "head": self.head,
            "overrides": tuple(map(parse_override, self.tensor or ())),
            "budget_bpw": self.budget_bpw,
            "fit_bytes": self.fit,
        }


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What is looked at in place of making a model: one of these."""

    sensitivity: Annotated[
        bool, Option("--sensitivity", help="Show what rounding each part alone costs; write nothing.")
    ] = False
    kv_report: Annotated[
        bool, Option("--kv-report", help="Show what 8 and 4 bits for keys and values cost; write nothing.")
    ] = False
    save_imatrix: Annotated[
        Path | None,
        Option(metavar="FILE", help="Write what --calibration puts in, as llama.cpp reads it; no model."),
    ] = None
    sweep: Annotated[
        str | None, Option(metavar="LIST", help="A row (jsonl) for each of so many --bits: 8,6,5,4,3.")
    ] = None

    def asked(self, out: Path | None) -> str | None:
        """The flag of the one question; None: a model is to be made.

        Raises:
            UsageError: there are two, or one and a place for a model.
        """
        given = {
            "--sensitivity": self.sensitivity,
            "--kv-report": self.kv_report,
            "--sweep": self.sweep is not None,
            "--save-imatrix": self.save_imatrix is not None,
        }
        flags = [flag for flag, is_given in given.items() if is_given]
        if flags and out is not None:
            raise UsageError(f"{flags[0]} writes no model", hint="leave OUT out; --format names its kind")
        if len(flags) > 1:
            raise UsageError(f"{flags[0]} and {flags[1]} are two questions", hint="ask one of them")
        return flags[0] if flags else None


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Above which loss of quality nothing is written."""

    max_kl: Annotated[
        float | None, Option(metavar="X", min=0, help="Exit 1, nothing written, above this KL divergence.")
    ] = QuantizeConfig.max_kl
    max_ppl_increase: Annotated[
        float | None, Option(metavar="X", min=0, help="The same for perplexity: 0.01 is 1 % more.")
    ] = QuantizeConfig.max_ppl_increase


def parse_bits(text: str) -> list[int]:
    """`8,6,4`.

    Raises:
        UsageError: not of this form.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--sweep {text!r} is no list of bits", hint="--sweep 8,6,5,4,3") from None


def parse_override(text: str) -> tuple[str, str]:
    """`ffn_down=Q6_K`: a pattern of names, and a type.

    Raises:
        UsageError: not of this form.
    """
    pattern, equals, name = text.rpartition("=")
    if not equals or not pattern or not name:
        raise UsageError(f"--tensor {text!r} is not of the form REGEX=NAME", hint="--tensor 'ffn_down=Q6_K'")
    return pattern, name
