"""The doctor on shards: every problem found and named, sound ones left in peace."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard

from llmkit.formats.shards import DOCUMENTS, INDEX, read_index
from llmkit.workflows.doctor.shards import check_shards


def test_sound_shards_have_no_findings_and_name_their_tokenizer(shards: Path) -> None:
    findings, identity = check_shards(shards)
    assert findings == []
    assert identity is not None and identity.tokenizer_sha256 == read_index(shards).tokenizer_sha256


def test_a_single_shard_is_checked_frame_by_frame(shards: Path) -> None:
    file = shards / "shard-00000.tok.zst"
    assert check_shards(file)[0] == []
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (finding,) = check_shards(file)[0]
    assert (finding.level, finding.check, finding.where) == ("error", "shards.verify", str(file))


def test_every_damaged_file_is_named(shards: Path) -> None:
    for name in ("shard-00000.tok.zst", "shard-00001.tok.zst"):
        content = bytearray((shards / name).read_bytes())
        content[len(content) // 2] ^= 1
        (shards / name).write_bytes(content)
    findings, _ = check_shards(shards)
    assert {Path(one.where).name for one in findings} == {"shard-00000.tok.zst", "shard-00001.tok.zst"}
    assert all(one.level == "error" and one.hint for one in findings)


@pytest.mark.parametrize(
    ("lines", "what"), [(None, "no such file"), (2, "2 documents, index.json says"), (-1, "truncated")]
)
def test_a_list_of_documents_that_is_gone_short_or_cut_is_named(
    shards: Path, lines: int | None, what: str
) -> None:
    path = shards / DOCUMENTS
    content = path.read_bytes()
    path.unlink()
    if lines == -1:
        path.write_bytes(content[:-5])
    elif lines is not None:
        path.write_bytes(zstandard.compress(b'{"id": "a"}\n' * lines))
    (finding,) = check_shards(shards)[0]
    assert (finding.level, finding.check, finding.where) == ("error", "shards.verify", str(path))
    assert what in finding.what


def test_a_folder_that_does_not_open_is_one_finding(shards: Path) -> None:
    (shards / "shard-00001.tok.zst").unlink()
    (finding,) = check_shards(shards)[0]
    assert finding.check == "shards.open" and "shard-00001.tok.zst" in finding.where + finding.what


def test_special_ids_beyond_the_vocabulary_are_found(shards: Path) -> None:
    index = msgspec.structs.replace(read_index(shards), eos_id=700)
    (shards / INDEX).write_bytes(msgspec.json.encode(index))
    (finding,) = check_shards(shards)[0]
    assert (finding.check, finding.what) == ("special.eos", "eos is 700, beyond the vocabulary of 600")


def test_shards_of_no_tokenizer_are_remarked_on(pack_records: Callable[..., Path]) -> None:
    folder = pack_records("plain", {"tokens": [1, 2]}, tokenizer=False)
    (finding,) = check_shards(folder)[0]
    assert (finding.level, finding.check) == ("info", "shards.tokenizer")
