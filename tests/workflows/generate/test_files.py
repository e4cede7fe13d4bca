from pathlib import Path

from llmkit.workflows.generate.files import GenerateFiles


def test_inputs_are_the_files_with_prompts_and_nothing_else() -> None:
    files = GenerateFiles(
        model=Path("m"), file=Path("a.txt"), jsonl=Path("-"), out=Path("o"), rejects=Path("r"), prompt="x"
    )
    assert files.inputs == [Path("a.txt"), Path("-")]
    assert GenerateFiles(model=Path("m"), prompt="x").inputs == []
