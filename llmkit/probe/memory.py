"""The most memory that this process held during one case of a measurement."""

from dataclasses import dataclass, field
from pathlib import Path

from llmkit.machine import peak_memory_bytes

_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc(5): sets the peak back to what is held now


@dataclass
class PeakMemory:
    """Peaks by case, in bytes. Everything that the process has loaded counts, for other cases too.

    Where the system cannot start a peak anew, a case's peak is the highest so far.
    """

    peaks: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Start anew."""
        try:
            _CLEAR.write_text(_RESET_PEAK)
        except OSError:
            return

    def end(self, name: str) -> None:
        """Keep the peak since `begin` for a case that ends now."""
        self.peaks[name] = max(self.peaks.get(name, 0), peak_memory_bytes())
