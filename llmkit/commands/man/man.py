"""llmkit man: manual pages as roff."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from llmkit.commands.base import Session
from llmkit.commands.shared import Force
from llmkit.errors import UsageError, nearest


def man(
    ctx: typer.Context,
    command: Annotated[
        list[str] | None, Argument(metavar="[COMMAND]...", help="Of this command; none: of llmkit itself.")
    ] = None,
    every: Annotated[bool, Option("--all", help="Every page, into the folder given by -o.")] = False,
    out: Annotated[Path | None, Option("--out", "-o", metavar="DIR", help="Folder for --all.")] = None,
    force: Force = False,
) -> None:
    """Print the manual page of a command, as roff.

    \b
    Examples:
      llmkit man pack > llmkit-pack.1
      llmkit man --all -o man1
    """
    from llmkit.commands.documentation import read_pages
    from llmkit.commands.man.text import man_page
    from llmkit.formats.atomic import refuse_existing, refuse_stdout, write_atomic

    if every != (out is not None):
        raise UsageError("--all and --out go together", hint="llmkit man --all -o DIR")
    if every and command:
        raise UsageError("--all is every command already", hint="llmkit man --all -o DIR")
    pages = {page.title: page for page in read_pages(ctx.find_root().command)}
    if out is None:
        title = "-".join(["llmkit", *(command or [])])
        if title not in pages:
            guess = nearest(title, pages)
            words = "" if guess is None else guess.removeprefix("llmkit").lstrip("-")
            raise UsageError(
                f"man: no command {' '.join(command or [])!r}",
                hint=f"llmkit man {words}" if words else "llmkit --help lists the commands",
            )
        sys.stdout.write(man_page(pages[title], list(pages.values())))
        return
    session: Session = ctx.obj
    refuse_stdout(out)
    for title in pages:
        refuse_existing(out / f"{title}.1", force=force)
    for title, page in pages.items():
        write_atomic(out / f"{title}.1", man_page(page, list(pages.values())).encode())
    session.console.note(f"{len(pages)} pages in {out}; read one with: man -l {out}/llmkit.1")
