"""Prompts with passages."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmkit.errors import ConfigError
from llmkit.formats.rejects import BadLines
from llmkit.retrieve.config import IndexConfig
from llmkit.workflows.retrieve.context import ContextOptions, write_contexts
from llmkit.workflows.retrieve.index import index_documents
from llmkit.workflows.retrieve.index_file import open_index
from llmkit.workflows.retrieve.run import RetrieveOptions, Run
from llmkit.workflows.retrieve.search import SearchOptions, open_search

TEXT = "# Ants\nAn ant carries leaves.\n\n# Bees\nA bee makes honey.\n"
Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    (tmp_path / "d.jsonl").write_text(json.dumps({"id": "zoo", "text": TEXT, "source": "book"}) + "\n")
    index_documents([tmp_path / "d.jsonl"], tmp_path / "i", IndexConfig(chunk=8, overlap=0))

    def call(text: str | dict[str, Any], **options: Any) -> dict[str, Any]:
        stream = io.BytesIO()
        (tmp_path / "q.jsonl").write_text(json.dumps({"query": text} if isinstance(text, str) else text))
        with open_index(tmp_path / "i") as store:
            asked = RetrieveOptions(index=tmp_path / "i", queries=(tmp_path / "q.jsonl",))
            bad = BadLines("test", skip=False, stream=None)
            find = open_search(store, SearchOptions(), tmp_path / "i")
            write_contexts(Run(asked, find, bad, stream), ContextOptions(**options))
        record: dict[str, Any] = json.loads(stream.getvalue())
        return record

    return call


def test_a_prompt_has_the_passages_under_their_marks_and_says_where_they_are_from(make: Make) -> None:
    record = make("bee honey")
    assert "\n[1] Bees\n# Bees\nA bee makes honey.\n" in record["prompt"]
    assert record["prompt"].endswith("Question: bee honey\nAnswer:")
    (citation,) = record["citations"]
    assert TEXT[citation["start"] : citation["end"]] == "# Bees\nA bee makes honey."
    assert (citation["mark"], citation["document"], citation["source"]) == (1, "zoo", "book")


def test_the_budget_is_counted_by_the_tokenizer_that_is_given(make: Make, byte_level_dir: Path) -> None:
    letters, tokens = make("ant bee"), make("ant bee", tokenizer=byte_level_dir)
    assert len(letters["citations"]) == len(tokens["citations"]) == 2
    assert tokens["context_tokens"] > letters["context_tokens"] > 0
    small = make("ant bee", tokenizer=byte_level_dir, budget=tokens["context_tokens"] - 1)
    assert 0 < small["context_tokens"] < tokens["context_tokens"]


def test_a_template_of_ones_own_is_given_passages_query_and_record(make: Make, tmp_path: Path) -> None:
    template = tmp_path / "qa.jinja"
    template.write_text(
        "{{ query }}|{{ record.query }}|{% for p in passages %}{{ p.document }}{{ p.mark }}{% endfor %}"
    )
    assert make("honey", template=template)["prompt"] == "honey|honey|zoo1"
    assert make("honey", template=template, messages=True)["messages"] == [
        {"role": "user", "content": "honey|honey|zoo1"}
    ]
    template.write_text("{{ passages.nothing.here }}")
    with pytest.raises(ConfigError, match=r"qa\.jinja"):
        make("honey", template=template)
    template.write_text("{% for %}")
    with pytest.raises(ConfigError, match=r"qa\.jinja: line 1"):
        make("honey", template=template)


def test_where_nothing_is_found_the_prompt_has_no_passages(make: Make) -> None:
    record = make("zebra")
    assert (record["citations"], record["context_tokens"]) == ([], 0)
    assert record["prompt"].endswith("Question: zebra\nAnswer:")


def test_messages_of_the_record_stay_and_the_prompt_stands_where_the_question_stood(make: Make) -> None:
    system = {"role": "system", "content": "Be brief."}
    asked = {"role": "user", "content": "bee honey", "name": "ann"}
    record = make({"messages": [system, asked], "id": 7}, messages=True)
    assert record["id"] == 7 and len(record["messages"]) == 2
    assert record["messages"][0] == system
    assert record["messages"][1]["name"] == "ann"
    assert record["messages"][1]["content"] == make("bee honey")["prompt"]
    assert (
        make({"messages": [system, asked], "query": "ant"}, messages=True)["messages"][1]["content"]
        == (make("ant")["prompt"])
    )
