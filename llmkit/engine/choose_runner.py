"""Which runner computes a model's passes."""

from llmkit.engine.cuda.plan import PagePlan
from llmkit.engine.native import NativeRunner
from llmkit.engine.runner import PassRunner, Runner
from llmkit.engine.store import KVStore
from llmkit.kernels.forward import NativeModel
from llmkit.model.transformer import Transformer


def choose_runner(
    model: Transformer, store: KVStore, plan: PagePlan, max_texts: int, native: NativeModel | None = None
) -> PassRunner:
    """The runner of a model.

    Args:
        model: in evaluation mode.
        store: memory of keys and values, with the plan's spare blocks.
        plan: how passes run where the model is.
        max_texts: most of a pass.
        native: the model's weights packed for the kernels, which then compute.
    """
    if native is not None:
        return NativeRunner(model, store, native)
    if plan.attention is not None:
        from llmkit.engine.cuda.runner import CudaRunner  # a process on a CPU need not wait

        return CudaRunner(model, store, plan, max_texts=max_texts)
    return Runner(model, store)
