"""The report of `llmkit eval kl`, for people."""

from typing import Any

from llmkit.commands.facts import Facts, facts_lines, plural, title_line
from llmkit.commands.shared import align
from llmkit.commands.terminal import text_width


def kl_text(report: Any) -> str:
    """A KlReport as facts, and a table of percentiles."""
    quality = report.quality
    facts: Facts = [
        ("KL divergence", f"{quality.kld:.6f} ± {quality.kld_error:.6f}, most {quality.kld_max:.4g}"),
        ("same best token", f"{quality.same_top:.3%} ± {quality.same_top_error:.3%}"),
        ("change of p", f"{quality.delta_p:+.3%}, root mean square {quality.delta_p_rms:.3%}"),
        (
            "perplexity",
            f"{quality.perplexity_base:.4f} to {quality.perplexity:.4f}, "
            f"times {quality.ratio:.6f} ± {quality.ratio_error:.6f}",
        ),
        (
            "compared",
            f"{plural(quality.positions, 'position')} in {plural(report.chunks, 'chunk')} "
            f"of {report.window:,} tokens",
        ),
        ("took", f"{report.seconds:.1f} s"),
    ]
    rows = [("percentile", "KL divergence", "change of p")]
    rows += [
        (f"{name} %", f"{kld:.6f}", f"{quality.delta_p_percentiles[name]:+.3%}")
        for name, kld in quality.kld_percentiles.items()
    ]
    title = title_line(report.model, f"beside {report.reference}")
    return "\n".join([title, *facts_lines(facts, text_width()), "", align(rows, right=(0, 1, 2))])
