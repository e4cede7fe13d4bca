"""Bodies of embeddings, without a server."""

import msgspec
import numpy as np
import pytest

from llmkit.server.answer import Usage
from llmkit.server.errors import ApiError
from llmkit.server.wire.embeddings import EmbeddingRequest, embedding_object, read_embedding


def test_a_text_and_a_row_of_ids_are_lists_of_one() -> None:
    assert read_embedding(EmbeddingRequest(input="a"), 4).texts == ("a",)
    ask = read_embedding(EmbeddingRequest(input=[3, 4], encoding_format="base64", dimensions=4), 4)
    assert (ask.ids, ask.texts, ask.encoding) == (((3, 4),), (), "base64")


def test_a_width_is_one_that_the_vectors_have_and_without_one_all_of_it() -> None:
    told = [EmbeddingRequest(input="a", dimensions=one) for one in (None, 1, 4)]
    assert [read_embedding(one, 4).dimensions for one in told] == [4, 1, 4]


@pytest.mark.parametrize("fields", [{"dimensions": 5}, {"dimensions": 0}, {"encoding_format": ""}])
def test_a_width_that_is_not_there_and_another_encoding_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ApiError) as caught:
        read_embedding(msgspec.convert({"input": "a", **fields}, EmbeddingRequest), 4)
    assert caught.value.param in fields


def test_a_vector_in_base64_is_four_bytes_a_number() -> None:
    told = embedding_object("m", np.array([[1.0, -2.0]], np.float32), Usage(prompt_tokens=3), "base64")
    assert told["data"][0]["embedding"] == "AACAPwAAAMA="  # 0000803f 000000c0
    assert told["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
