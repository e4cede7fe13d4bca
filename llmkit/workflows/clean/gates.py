"""When `clean` says no: a rule that eats the corpus, or more rejected than is allowed."""

from collections.abc import Callable, Sequence

from llmkit.errors import GateFailed
from llmkit.formats.amount_text import plural
from llmkit.text.rule import Check
from llmkit.workflows.clean.options import ENOUGH_DOCUMENTS, CleanFiles, CleanSettings
from llmkit.workflows.clean.report import CleanReport
from llmkit.workflows.clean.tally import Tally


def drop_watch(
    files: CleanFiles, settings: CleanSettings, checks: Sequence[Check]
) -> Callable[[Tally], None]:
    """What looks at the counts as they grow, and stops a rule that eats the corpus.

    Raises (when called):
        GateFailed: a check has dropped more than `max_drop` of at least `ENOUGH_DOCUMENTS` documents.
    """

    def watch(tally: Tally) -> None:
        if settings.mode == "tag" or files.max_drop >= 1:
            return
        seen = tally.documents - tally.malformed
        for check in checks:
            count = tally.dropped.get(check.name)
            if count is None:
                continue
            if seen >= ENOUGH_DOCUMENTS and count.documents > files.max_drop * seen:
                raise GateFailed(
                    f"{check.name} drops {count.documents:,} of {plural(seen, 'document')}, over --max-drop "
                    f"{files.max_drop:g}: stopped",
                    hint="--explain shows what it sees; --max-drop 1 lets it go on",
                )
            seen -= count.documents

    return watch


def check_dropped(report: CleanReport, most: float | None) -> None:
    """The gate of --fail-if-dropped-over.

    Raises:
        GateFailed: a larger share of the documents was rejected; the output is complete.
    """
    if most is not None and report.rejected_documents > most * report.documents:
        share = report.rejected_documents / report.documents
        raise GateFailed(
            f"{report.rejected_documents:,} of {plural(report.documents, 'document')} rejected "
            f"({share:.1%}), over {most:.1%}; the output is complete",
            hint="--report report.html shows which rule drops what",
        )
