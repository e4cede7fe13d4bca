"""The steps of `clean` and their order.

page, licence, text out of HTML, encoding, language, boilerplate, presets, rule file, personal data, test sets

What costs least and drops most comes first. A licence is looked for in HTML before its text is taken out.
"""

from llmkit.text.presets import join_rules, preset, read_rules
from llmkit.text.rule import Rule
from llmkit.workflows.clean.judges import Against, JudgePage, Languages, Licences, Rules
from llmkit.workflows.clean.options import CleanSettings
from llmkit.workflows.clean.repairs import REPAIRS, PersonalData, Repair, TakeText
from llmkit.workflows.clean.work import Cleaner, Step


def build_cleaner(settings: CleanSettings) -> Cleaner:
    """What cleans batches as the settings say; a context manager, since steps may hold processes."""
    return Cleaner(settings, build_steps(settings))


def build_steps(settings: CleanSettings) -> list[Step]:
    """The steps that the settings ask for, in their order.

    Raises:
        UsageError: an unknown preset, rule, language or licence.
        MissingError: a package that a step needs.
    """
    steps: list[Step] = []
    if settings.pages or settings.pipes:
        steps.append(JudgePage())
    if settings.asks_licence:
        steps.append(Licences(settings))
    if settings.pages or settings.pipes or settings.extract is not None:
        is_sure = settings.pages or settings.extract is not None
        steps.append(TakeText(settings.extract or "fast", settings.seconds_per_document, is_sure=is_sure))
    if settings.fix_encoding:
        steps += map(Repair, REPAIRS)
    if settings.lang is not None:
        steps.append(Languages(settings.lang, settings.lang_model))
    rules = rules_of(settings)
    if rules:
        steps.append(Rules(rules))
    if settings.pii is not None:
        steps.append(PersonalData(settings.pii))
    if settings.against:
        steps.append(Against(settings.against))
    return steps


def rules_of(settings: CleanSettings) -> tuple[Rule, ...]:
    """The rules of the presets in their order, then those of the rule file.

    Raises:
        ConfigError: an unknown preset or rule, or one that comes twice with different thresholds.
    """
    chains = [preset("boilerplate")] if settings.boilerplate else []
    chains += [preset(name) for name in settings.presets]
    if settings.rules is not None:
        chains.append(read_rules(settings.rules, where=settings.rules_name))
    return join_rules(chains)
