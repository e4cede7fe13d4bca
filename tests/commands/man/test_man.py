from pathlib import Path


def test_man_prints_one_page(llmkit_run) -> None:
    done = llmkit_run("man", "bench", "tokenize")
    assert done.status == 0 and done.text.startswith(".TH LLMKIT\\-BENCH\\-TOKENIZE 1")
    assert llmkit_run("man").text.startswith(".TH LLMKIT 1")


def test_an_unknown_command_names_the_nearest(llmkit_run) -> None:
    done = llmkit_run("man", "tokenise")
    assert done.status == 2
    assert done.err == "llmkit: error: man: no command 'tokenise'\n  hint: llmkit man tokenize\n"


def test_all_writes_a_folder_of_pages_and_keeps_what_is_there(llmkit_run, tmp_path: Path) -> None:
    done = llmkit_run("man", "--all", "-o", tmp_path / "man1")
    assert done.status == 0 and done.out == b""
    assert (tmp_path / "man1" / "llmkit-pack.1").read_text() == llmkit_run("man", "pack").text
    assert llmkit_run("man", "--all", "-o", tmp_path / "man1").status == 2
    assert llmkit_run("man", "--all", "-o", tmp_path / "man1", "--force").status == 0


def test_all_wants_a_folder_and_no_command(llmkit_run, tmp_path: Path) -> None:
    assert llmkit_run("man", "--all").status == 2
    assert llmkit_run("man", "-o", tmp_path / "x").status == 2
    assert llmkit_run("man", "pack", "--all", "-o", tmp_path / "x").status == 2
    assert not (tmp_path / "x").exists()


def test_all_makes_no_folder_called_as_stdout(llmkit_run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = llmkit_run("man", "--all", "-o", "-")
    assert done.status == 2 and done.err.startswith("llmkit: error: -: ") and not list(tmp_path.iterdir())
