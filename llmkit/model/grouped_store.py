"""What the two forms of model files have in common: tensors in groups, some of them mapped. No torch."""

from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from numpy.typing import NDArray

from llmkit.model.config import ModelConfig
from llmkit.model.mapped import MappedFiles
from llmkit.model.shapes import Shape

AS_STORED = ("same", "joined")
"""How groups are whose tensors are the file's own, or runs of its rows."""


class AnyGroup(Protocol):
    """Tensors of the model, and those of a file with the same numbers."""

    @property
    def ours(self) -> tuple[str, ...]:
        """Names of the model's."""

    @property
    def theirs(self) -> tuple[str, ...]:
        """Names of the file's."""

    def shapes(self, ours: Sequence[Shape]) -> list[Shape]:
        """The shapes of the file's tensors, from those of the model's."""


GroupT = TypeVar("GroupT", bound=AnyGroup)


class GroupedStore(Generic[GroupT]):
    """A file's groups by the model's names.

    Attributes:
        config: of the model.
        shapes: of the model's tensors, in its order.
    """

    def __init__(self, config: ModelConfig, shapes: dict[str, Shape], groups: Sequence[GroupT]) -> None:
        self.config, self.shapes = config, shapes
        self._groups = {name: group for group in groups for name in group.ours}
        self._files = MappedFiles()

    def forget_pages(self, array: NDArray[Any]) -> int:
        """See `WeightStore`."""
        return self._files.forget_pages(array)

    def _all_groups(self) -> list[GroupT]:
        return list(dict.fromkeys(self._groups.values()))

    def _rows(self, group: GroupT) -> list[int]:
        return [self.shapes[name][0] if self.shapes[name] else 1 for name in group.ours]

    def _expected(self) -> dict[str, Shape]:
        """Shapes of the tensors that the files of this model hold."""
        expected: dict[str, Shape] = {}
        for group in self._all_groups():
            packed = group.shapes([self.shapes[name] for name in group.ours])
            expected |= dict(zip(group.theirs, packed, strict=True))
        return expected
