import json
from pathlib import Path

import numpy as np
import pytest

from llmkit.errors import DataError
from llmkit.formats.jsonl import read_records
from llmkit.formats.token_documents import TokenDocument, encode_token_document, token_document


def _read(folder: Path, line: str) -> TokenDocument:
    path = folder / "tokens.jsonl"
    path.write_text(line + "\n")
    (read,) = read_records(path)
    return token_document(read)


def test_what_is_read_is_written_again_with_every_other_field(tmp_path: Path) -> None:
    line = '{"id":"a","tokens":[1,2,70000],"mask":[[0,1],[2,1]],"source":{"x":1.50}}'
    document = _read(tmp_path, line)
    assert document.tokens.dtype == np.uint32 and document.tokens.tolist() == [1, 2, 70000]
    assert document.mask == [(0, 1), (2, 1)]
    again = encode_token_document(document).decode()
    assert json.loads(again) == json.loads(line) and "1.50" in again


def test_a_numeric_id_stays_a_number(tmp_path: Path) -> None:
    document = _read(tmp_path, '{"id":7,"tokens":[]}')
    assert document.id == "7" and json.loads(encode_token_document(document))["id"] == 7


def test_an_id_of_null_is_written_as_the_document_is_called(tmp_path: Path) -> None:
    document = _read(tmp_path, '{"id":null,"tokens":[5]}')
    assert json.loads(encode_token_document(document)) == {"id": document.id, "tokens": [5]}


def test_text_instead_of_tokens_names_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'tokens\.jsonl:1: no "tokens" field \(found: id, text\)') as caught:
        _read(tmp_path, '{"id":"a","text":"hello"}')
    assert "llmkit tokenize" in caught.value.hint


@pytest.mark.parametrize(
    "line",
    [
        '{"tokens":[-1]}',
        '{"tokens":[4294967296]}',
        '{"tokens":[1.5]}',
        '{"tokens":"1 2"}',
        '{"tokens":[1,2],"mask":[[1,2]]}',
        '{"tokens":[1,2],"mask":[[-1,1]]}',
        '{"tokens":[1,2],"mask":[[0,-1]]}',
    ],
)
def test_impossible_ids_and_masks_are_refused(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match=r"tokens\.jsonl:1"):
        _read(tmp_path, line)
