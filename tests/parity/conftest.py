"""What comparisons of small models have in common."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Models this small gain nothing from threads, and lose tenfold where other work holds the cores."""
    import torch  # not of every comparison here

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
