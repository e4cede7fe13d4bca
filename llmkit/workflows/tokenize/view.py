"""The token view: a text with its tokens told apart, by background colour or by a mark between them."""

from llmkit.formats.token_documents import TokenIds
from llmkit.tokens.tokenizer import Tokenizer
from llmkit.workflows.tokenize.run import Run

BACKGROUNDS = ("\x1b[30;48;5;153m", "\x1b[30;48;5;223m", "\x1b[30;48;5;157m", "\x1b[30;48;5;219m")
RESET = "\x1b[0m"
MARK = "│"  # not the | of <|im_end|>


def write_view(run: Run) -> None:
    """Each document's tokens in order; a line feed is shown as ↵, what is not printable as its escape."""
    many = False
    for _, ids in run.pairs():
        if many:
            run.emit(b"\n")
        many = True
        shown = [visible_text(part) for part in token_texts(run.tokenizer, ids)]
        end = "" if shown and shown[-1].endswith("\n") else "\n"
        run.emit((_colored(shown) if run.color else MARK.join(shown)).encode() + end.encode())


def token_texts(tokenizer: Tokenizer, ids: TokenIds) -> list[str]:
    """The text of each token; bytes that are only part of a character as <NN>, special tokens by name."""
    return [_token_text(tokenizer, token) for token in ids.tolist()]


def _token_text(tokenizer: Tokenizer, token: int) -> str:
    content = tokenizer.token_bytes(token)
    try:
        return content.decode() or tokenizer.token_text(token)
    except UnicodeDecodeError:
        return "".join(f"<{byte:02x}>" for byte in content)


def visible_text(text: str) -> str:
    """A text for a terminal: a line feed as ↵ and itself, what is not printable as its escape."""
    return "".join(
        "↵\n" if letter == "\n" else letter if letter.isprintable() else ascii(letter)[1:-1]
        for letter in text
    )


def _colored(parts: list[str]) -> str:
    """Alternating backgrounds; the colour ends before a line does, or it would run to the edge."""
    return "".join(
        "\n".join(f"{BACKGROUNDS[number % len(BACKGROUNDS)]}{line}{RESET}" if line else "" for line in lines)
        for number, lines in enumerate(part.split("\n") for part in parts)
    )
