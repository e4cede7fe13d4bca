"""Languages: real texts of known language, and a fastText model file written by hand."""

import struct
from pathlib import Path

import msgspec
import pytest
import zstandard

from llmkit.errors import DataError, MissingError, UsageError
from llmkit.text.language import Language, detector_of, parse_languages, sample_of

CODES = {
    **{"eng": "en", "deu_1996": "de", "fra": "fr", "spa": "es", "por_PT": "pt", "ita": "it", "fin": "fi"},
    **{
        "pol": "pl",
        "rus": "ru",
        "jpn": "ja",
        "kor": "ko",
        "arb": "ar",
        "hin": "hi",
        "tur": "tr",
        "vie": "vi",
    },
}


def test_a_list_of_languages_is_a_gate_with_a_threshold_each() -> None:
    gate = parse_languages("en:0.8, de")
    assert gate.wanted == {"en": 0.8, "de": 0.65}
    assert gate.judge(Language("en", 0.8)) is None and gate.judge(Language("de", 0.65)) is None
    unsure, other = gate.judge(Language("en", 0.79)), gate.judge(Language("fr", 0.999))
    assert unsure is not None and other is not None
    assert (unsure.rule, unsure.value, unsure.threshold) == ("language", "en:0.79", "en:0.8,de:0.65")
    assert other.value == "fr:1.00"


@pytest.mark.parametrize("wanted", ["", "en:", "en:x", "en:1.5", ":0.5", "en,,de", "en:nan"])
def test_what_is_no_list_of_languages_is_refused(wanted: str) -> None:
    with pytest.raises(UsageError, match="not a language with a score"):
        parse_languages(wanted)


def test_paragraphs_of_known_language_are_known(shared_data: Path) -> None:
    pytest.importorskip("py3langid")
    detect = detector_of()
    right = asked = 0
    with zstandard.open(shared_data / "text" / "multilingual" / "udhr.jsonl.zst", "rb") as stream:
        for line in stream.read().splitlines():
            record = msgspec.json.decode(line)
            if record["lang"] in CODES:
                for paragraph in [one for one in record["text"].split("\n") if len(one) > 80][:10]:
                    asked += 1
                    right += detect(paragraph).code == CODES[record["lang"]]
    assert asked > 100
    assert right / asked > 0.98


def test_a_wanted_language_that_the_model_lacks_is_named() -> None:
    pytest.importorskip("py3langid")
    detect = detector_of()
    parse_languages("en,zxx").check(detect)
    with pytest.raises(UsageError, match=r"--lang eng: a language that the model does not know"):
        parse_languages("eng").check(detect)
    assert detect("") == detect("12 345 -- 67\n\n* 8") == Language("zxx", 0.0)


def test_a_long_text_is_judged_by_its_start_middle_and_end() -> None:
    text = "a" * 5000 + "b" * 5000 + "c" * 5000
    sample = sample_of(text, most=300)
    assert [sample.count(letter) for letter in "abc"] == [100, 100, 98]  # two of 300 are the spaces between
    assert sample_of(" one\n\ntwo\tthree ") == "one two three"


def fasttext_file(path: Path) -> Path:
    """A supervised fastText model, version 12: two words of two dimensions, two labels, softmax."""
    arguments = [2, 5, 1, 1, 5, 1, 3, 3, 0, 0, 0, 100]  # dim … loss softmax, model supervised, no buckets
    content = struct.pack("<ii", 793712314, 12) + struct.pack("<12id", *arguments, 1e-4)
    words = [("hello", 0), ("bonjour", 0), ("__label__en", 1), ("__label__fr", 1)]
    content += struct.pack("<iiiqq", 4, 2, 2, 4, -1)
    content += b"".join(word.encode() + b"\0" + struct.pack("<qb", 1, kind) for word, kind in words)
    for matrix in ([2.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 1.0]):  # hello is the first axis, bonjour the second
        content += struct.pack("<?qq4f", False, 2, 2, *matrix)
    path.write_bytes(content)
    return path


def test_a_fasttext_model_answers_by_its_labels(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    detect = detector_of(fasttext_file(tmp_path / "lid.bin"))
    found = detect("hello\nhello")
    assert found.code == "en"
    assert found.score == pytest.approx(1 / (1 + 2.718281828**-2), abs=1e-3)  # softmax of (2, 0)
    assert detect("bonjour").code == "fr"


def test_what_is_no_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("fasttext")
    with pytest.raises(MissingError, match="no such file"):
        detector_of(tmp_path / "none.bin")
    bad = tmp_path / "bad.bin"
    bad.write_bytes(b"not a model" * 10)
    with pytest.raises(DataError, match=r"bad.bin: not a fastText model"):
        detector_of(bad)
