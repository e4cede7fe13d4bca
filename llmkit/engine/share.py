"""How the tokens of a pass are shared out: nobody who writes waits for somebody who reads.

Texts that have been read need one token each, and come first. Of the rest the oldest text that is still being
read gets half, so that it ends whatever else comes; the others go on from the shortest, so that a short
prompt is answered soon behind a long one; and something is left for new ones.
"""

from collections.abc import Sequence


def share_pass(wanted: Sequence[int], newcomers: int, tokens: int) -> list[int]:
    """Tokens that each text at work may compute in a pass.

    Args:
        wanted: tokens of each that are known and not computed, the oldest text first; at least 1.
        newcomers: tokens of texts that are not at work yet.
        tokens: of the pass; at least one for each text.

    Returns:
        As many as are wanted, or fewer; at least 1 for whoever needs only one.
    """
    shares = [min(count, 1) for count in wanted]
    left = tokens - sum(shares)
    reading = [place for place, count in enumerate(wanted) if count > 1]
    for place in reading:  # one token of a prompt is no use to anybody yet
        left += shares[place]
        shares[place] = 0
    if not reading or left <= 0:
        return shares
    left -= min(newcomers, left // 4)
    oldest, others = reading[0], sorted(reading[1:], key=lambda place: (wanted[place], place))
    shares[oldest] = min(wanted[oldest], max(1, left // 2) if others else left)
    left -= shares[oldest]
    for place in others:
        shares[place] = min(wanted[place], left)
        left -= shares[place]
    shares[oldest] += min(wanted[oldest] - shares[oldest], left)  # what nobody else needs
    return shares
