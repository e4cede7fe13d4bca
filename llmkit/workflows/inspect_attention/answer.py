"""What is seen of an answer: the lens by layer, heads taken out, the parts of a logit."""

from llmkit.probe.attention.ablate import ablate_heads, target_of
from llmkit.probe.attention.attribution import attribute_logit
from llmkit.probe.attention.lens import logit_lens
from llmkit.progress import SILENT, Progress
from llmkit.workflows.inspect_attention.config import Head, InspectViews
from llmkit.workflows.inspect_attention.heads import check_heads
from llmkit.workflows.inspect_attention.open import Inspected
from llmkit.workflows.inspect_attention.report import (
    AblationPart,
    AblationRow,
    AttributionPart,
    LensLayerRow,
    LensPart,
)
from llmkit.workflows.inspect_attention.text import Reading
from llmkit.workflows.show.token import find_token, token_label


def answer_id(opened: Inspected, name: str | None) -> int | None:
    """The token that --answer names.

    Raises:
        UsageError: no token is called that.
    """
    return None if name is None else find_token(opened.tokenizer, name, opened.job.model.vocab_size)


def see_lens(opened: Inspected, reading: Reading, query: int, answer: int | None) -> LensPart:
    """One position through all layers."""
    (found,) = logit_lens(opened.model, reading.ids, (query,), answer=answer)
    return LensPart(
        query=reading.tokens[found.position],
        answer=token_label(opened.tokenizer, found.answer),
        answer_id=found.answer,
        first_final=found.first_final,
        settled=found.settled,
        layers=[
            LensLayerRow(
                layers=one.layers,
                rank=one.rank,
                probability=one.probability,
                kl_nats=one.kl,
                top=token_label(opened.tokenizer, one.top),
                top_id=one.top,
                top_probability=one.top_probability,
            )
            for one in found.layers
        ],
    )


def see_ablation(
    opened: Inspected,
    reading: Reading,
    query: int,
    answer: int | None,
    views: InspectViews,
    progress: Progress = SILENT,
) -> AblationPart:
    """Heads taken out one at a time.

    Raises:
        UsageError: a head that the model does not have.
    """
    heads = heads_to_ablate(opened, views)
    target = target_of(opened.model, reading.ids, query, answer)
    rows = []
    for done, one in enumerate(ablate_heads(opened.model, reading.ids, heads, target, by=views.ablate_by)):
        progress.update(done, len(heads), head=f"{one.layer}.{one.head}")
        rows.append(
            AblationRow(
                layer=one.layer,
                head=one.head,
                loss_change_nats=one.loss_change,
                kl_nats=one.kl,
                logit_change=one.logit_change,
                probability_change=one.probability_change,
            )
        )
    return AblationPart(
        by=views.ablate_by,
        query=reading.tokens[target.position],
        target=token_label(opened.tokenizer, target.id),
        target_id=target.id,
        heads=rows,
    )


def heads_to_ablate(opened: Inspected, views: InspectViews) -> list[Head]:
    """Those that --ablate names.

    Raises:
        UsageError: one that the model does not have.
    """
    config = opened.job.model
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    if views.ablate is None or views.ablate == "all":
        attend = [layer for layer in range(layers) if layer not in config.layers_without_keys]
        return [(layer, head) for layer in attend for head in range(heads)]
    check_heads(views.ablate, layers, heads)
    return list(views.ablate)


def see_attribution(opened: Inspected, reading: Reading, query: int, answer: int | None) -> AttributionPart:
    """The parts of one logit."""
    target = target_of(opened.model, reading.ids, query, answer)
    found = attribute_logit(opened.model, reading.ids, target)
    return AttributionPart(
        query=reading.tokens[target.position],
        target=token_label(opened.tokenizer, target.id),
        target_id=target.id,
        logit=found.logit,
        capped_logit=found.capped_logit,
        embedding=found.embedding,
        heads=[list(layer) for layer in found.heads],
        attention_biases=list(found.attention_biases),
        mlps=list(found.mlps),
        bias=found.bias,
        total=found.total,
    )
