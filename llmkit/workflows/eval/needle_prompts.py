"""The prompts of `llmkit eval needle`: what is hidden in which text, where, and how it is asked for."""

from dataclasses import asdict, replace
from pathlib import Path

from llmkit.errors import DataError, UsageError
from llmkit.formats.digest import digest_bytes
from llmkit.formats.jsonl import encode_line
from llmkit.formats.streams import open_output
from llmkit.formats.text_file import read_text_file
from llmkit.probe.evaluate.grid import check_depths, default_lengths
from llmkit.probe.evaluate.hidden import Hay, Hidden, split_sentences
from llmkit.probe.evaluate.needle import ANSWERS, NEEDLE, QUESTION, Needle, Tokens
from llmkit.probe.evaluate.needle_tasks import (
    Material,
    Place,
    PromptMaker,
    check_asked,
    expand_tasks,
    has_depth,
)
from llmkit.probe.evaluate.tasks_config import NeedleConfig
from llmkit.probe.evaluate.words import NOISE
from llmkit.workflows.eval.open import open_scorer
from llmkit.workflows.eval.scorer import ModelOptions, Scorer
from llmkit.workflows.eval.work import INPUTS, Work


def write_prompts(
    model: ModelOptions,
    config: NeedleConfig,
    path: Path,
    *,
    haystack: Path | None = None,
    force: bool = False,
) -> int:
    """The prompts as jsonl: {"id", "task", "length", "depth", "prompt", "prefix", "answers"}.

    Args:
        model: whose tokenizer measures them; its weights are not read.
        config: what is hidden, and where.
        path: of the file; `-` is stdout.
        haystack: a text to hide it in; None: noise.
        force: replace the file.

    Returns:
        How many there are.

    Raises:
        UsageError, DataError, MissingError, ConfigError: see `eval_needle`.
    """
    scorer, config = open_needle(model, config, haystack)
    places, maker = list_places(config), prompt_maker(scorer, config, *read_hay(haystack))
    with open_output(path, force=force, inputs=[] if haystack is None else [haystack]) as stream:
        for place in places:
            hidden = maker.make(place)
            name = f"{place.task}/{place.length}/{place.depth}/{place.sample}"
            told = {"id": name, "task": place.task, "length": place.length, "depth": place.depth}
            stream.write(encode_line(told | asdict(hidden)))
    return len(places)


def open_needle(
    model: ModelOptions, config: NeedleConfig, haystack: Path | None
) -> tuple[Scorer, NeedleConfig]:
    """The model, and the config with the tasks and lengths that it comes to.

    Raises:
        UsageError: a length beyond the context, or depths and tasks that make no sense; see `check_asked`.
        DataError, MissingError, ConfigError: see `open_scorer`.
    """
    check_depths(config.depths)
    tasks = expand_tasks(config.tasks)
    check_asked(replace(config, tasks=tasks), has_text=haystack is not None)
    scorer = open_scorer(model)
    lengths = tuple(sorted(set(config.lengths))) or default_lengths(scorer.context)
    if lengths[-1] > scorer.context:
        factor = -(-lengths[-1] // scorer.context)
        raise UsageError(
            f"--lengths {lengths[-1]:,}: the model has a context of {scorer.context:,}",
            hint=f"--rope-scaling yarn:{factor} stretches it, or shorter --lengths",
        )
    scorer.longest = lengths[-1]
    return scorer, replace(config, tasks=tasks, lengths=lengths)


def list_places(config: NeedleConfig) -> list[Place]:
    """Where each prompt hides what it asks for, in order."""
    return [
        Place(task=task, length=length, depth=depth, sample=sample)
        for task in config.tasks
        for length in config.lengths
        for depth in (config.depths if has_depth(task) else (None,))
        for sample in range(config.samples)
    ]


def read_hay(haystack: Path | None) -> tuple[str, Hay]:
    """The text that things are hidden in, and its sentences; noise has none.

    Raises:
        MissingError, DataError: no such file, or no text in it.
    """
    if haystack is None:
        return " ".join(NOISE) + " ", Hay()
    text = read_text_file(haystack)
    hay = Hay(tuple(split_sentences(text)))
    if not hay.sentences:
        raise DataError(f"{haystack}: no text", hint="a text of some sentences")
    return text, hay


def needle_work(config: NeedleConfig, text: str) -> Work:
    """What is asked, of which two models must be asked the same."""
    said = [text, config.needle, config.question, config.answers, config.values, config.words, config.chat]
    return {
        "task_names": config.tasks,
        "token_lengths": config.lengths,
        "depths": config.depths,
        "prompts_each": config.samples,
        "max_tokens": config.max_tokens,
        "seed": config.seed,
        INPUTS: digest_bytes(encode_line(said)),
    }


def prompt_maker(scorer: Scorer, config: NeedleConfig, text: str, hay: Hay) -> PromptMaker:
    """What makes prompts, measured by the tokenizer of the model.

    Args:
        scorer, config: see `open_needle`.
        text, hay: see `read_hay`.
    """
    encoder, tokenizer = scorer.encoder, scorer.tokenizer
    tokens = Tokens(
        lambda one: encoder.encode(one, special=False),
        tokenizer.decode,
        tuple(encoder.encode(text, special=False)),
    )
    needle = Needle(
        needle=NEEDLE if config.needle is None else config.needle,
        question=QUESTION if config.question is None else config.question,
        answers=ANSWERS if not config.answers else config.answers,
        values=config.values,
        words=config.words,
    )
    material = Material(needle=needle, hay=hay, tokens=tokens, seed=config.seed)
    return PromptMaker(
        material, lambda one: len(prompt_ids(scorer, one, config)), max_tokens=config.max_tokens
    )


def prompt_ids(scorer: Scorer, hidden: Hidden, config: NeedleConfig) -> list[int]:
    """The prompt as the model gets it: as it is, or as a user's message with the answer begun."""
    if not config.chat:
        return scorer.encoder.encode(hidden.prompt + hidden.prefix)
    rendered = scorer.encoder.render([{"role": "user", "content": hidden.prompt}])
    return scorer.encoder.encode_rendered(rendered + hidden.prefix.lstrip())
