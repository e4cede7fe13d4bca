"""Adapters on one base: which are loaded, which texts use them, and how they come and go while it runs.

No adapter is merged: each adds to the products of the base, text by text, so that texts with different
adapters, and with none, go through the model in one pass. The base is never touched, and going over to
another adapter is naming it.
"""

from collections import Counter
from typing import TYPE_CHECKING

from llmkit.engine.adapters.use import AdapterUse
from llmkit.engine.native.weights import PackedModel
from llmkit.engine.pass_runner import PassRunner
from llmkit.engine.request import no_adapter
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.engine.adapters.values import Adapter
    from llmkit.model.adapters.weights import AdapterWeights
    from llmkit.model.transformer import Transformer


class AdapterBank:
    """The adapters that requests may name."""

    def __init__(self, model: "Transformer | PackedModel", runner: PassRunner) -> None:
        """
        Args:
            model: the base.
            runner: computes the base's passes.
        """
        self._model = model
        self._runner = runner
        self._loaded: dict[str, Adapter] = {}
        self._holders: Counter[Adapter] = Counter()
        self._texts: Counter[str] = Counter()

    @property
    def kernels(self) -> str:
        """What computes passes, and what is added: native or torch."""
        return self._runner.kernels

    @property
    def names(self) -> tuple[str, ...]:
        """Of all that can be asked for."""
        return tuple(self._loaded)

    def load(self, name: str, weights: "AdapterWeights", *, strength: float = 1.0) -> "Adapter":
        """Take in an adapter.

        Args:
            name: what requests call it.
            weights: of the base's own shape.
            strength: what its scale is multiplied with.

        Raises:
            UsageError: there is one of this name; or it changes what nothing is added to at run time.
            DataError: it is another model's.
        """
        self._check_free(name)
        return self.add(self.prepare(name, weights, strength=strength))

    def prepare(self, name: str, weights: "AdapterWeights", *, strength: float = 1.0) -> "Adapter":
        """Make an adapter ready for the base, which is only read: passes may run meanwhile.

        Raises:
            UsageError, DataError: see `prepare_adapter`.
        """
        import torch  # who has no adapter need not wait

        from llmkit.engine.adapters.prepare import prepare_adapter

        if self.kernels == "native":
            torch.set_num_threads(1)  # more would spin in the kernels' turn
        return prepare_adapter(self._model, name, weights, strength=strength)

    def add(self, adapter: "Adapter") -> "Adapter":
        """Take in one that has been made ready.

        Raises:
            UsageError: there is one of this name; or what computes passes cannot add it.
        """
        self._check_free(adapter.name)
        self._runner.add_adapter(adapter)
        self._loaded[adapter.name] = adapter
        return adapter

    def unload(self, name: str) -> bool:
        """No new text gets it; its memory is free when the last text that has it is over.

        Returns:
            Whether that is now.

        Raises:
            UsageError: there is none of this name.
        """
        adapter = self.get(name)
        del self._loaded[name]
        self._texts.pop(name, None)
        if self._holders[adapter]:
            return False
        self._forget(adapter)
        return True

    def get(self, name: str) -> "Adapter":
        """An adapter by its name.

        Raises:
            UsageError: there is none.
        """
        if name not in self._loaded:
            raise no_adapter(name, self.names)
        return self._loaded[name]

    def find(self, name: str | None) -> "Adapter | None":
        """What a request asks for; None is the base alone.

        Raises:
            UsageError: there is none of this name.
        """
        return None if name is None else self.get(name)

    def hold(self, adapter: "Adapter | None") -> None:
        """A text begins: its adapter stays until it is given back."""
        if adapter is not None:
            self._holders[adapter] += 1
            self._texts[adapter.name] += 1

    def give_back(self, adapter: "Adapter | None") -> None:
        """A text is over."""
        if adapter is None:
            return
        self._holders[adapter] -= 1
        if not self._holders[adapter] and self._loaded.get(adapter.name) is not adapter:
            self._forget(adapter)

    def uses(self) -> tuple[AdapterUse, ...]:
        """Every loaded adapter in figures."""
        return tuple(
            AdapterUse(name, adapter.nbytes, self._texts[name]) for name, adapter in self._loaded.items()
        )

    def _check_free(self, name: str) -> None:
        if name in self._loaded:
            raise UsageError(f"there is an adapter {name!r} already", hint="unload it first, or name another")

    def _forget(self, adapter: "Adapter") -> None:
        del self._holders[adapter]
        self._runner.remove_adapter(adapter)
