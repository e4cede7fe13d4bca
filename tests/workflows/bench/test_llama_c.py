"""The process that runs llama.cpp; what it computes is tested in test_llama.py."""

import subprocess
import sys
from ctypes.util import find_library

import pytest

from llmkit.workflows.bench import llama_c as bench_llama_c
from llmkit.workflows.bench.llama_c import _batch


def test_a_batch_says_of_each_token_where_it_is_in_which_text_and_whether_it_is_scored() -> None:
    ids, positions, texts = [7, 8, 9], [4, 5, 2], [0, 0, 1]
    last, every = (_batch(ids, positions, texts, every=one) for one in (False, True))
    for batch in (last, every):
        assert batch.n_tokens == 3 and batch.embd is None
        assert (batch.token[:3], batch.pos[:3], batch.n_seq_id[:3]) == (ids, positions, [1, 1, 1])
        assert [batch.seq_id[at][0] for at in range(3)] == texts
    assert (last.logits[:3], every.logits[:3]) == ([0, 0, 1], [1, 1, 1])


def test_a_library_of_something_else_is_refused_in_one_line() -> None:
    library = find_library("m")
    if library is None:
        pytest.skip("no library here to take for it")
    done = subprocess.run(
        [sys.executable, bench_llama_c.__file__, library, "a.gguf"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("llama.cpp: the library has no function llama_backend_init")
