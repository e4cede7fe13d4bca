"""What later units are told of the corpus."""

from pathlib import Path

from llmkit.workflows.dedup.options import DedupConfig
from llmkit.workflows.dedup.signed import Signed, open_corpus, read_signed, write_signed


def test_it_is_read_as_it_was_written_and_an_index_is_the_first_unit(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    for stem in ("work/sign-00000", "index/documents"):
        (tmp_path / stem).parent.mkdir(exist_ok=True)
        (tmp_path / f"{stem}.facts").touch()
    config = DedupConfig(prefer="source:a>b,first", similarity=0.8)
    signed = Signed(config, ("sign-00000",), (("a", "b"),), True, str(tmp_path / "index"), ("old",))
    write_signed(signed, tmp_path)
    assert read_signed(tmp_path) == signed
    corpus = open_corpus(signed, tmp_path)
    assert [unit.sources for unit in corpus.units] == [("old",), ("a", "b")]
    assert {unit.num_terms for unit in corpus.units} == {1}
