"""Completion scripts of bash, zsh and fish, written out from the flags: a TAB starts no Python."""

from collections.abc import Callable, Iterator

from llmkit.commands.documentation import CommandPage, Flag

MAN = ("man",)
"""The command whose arguments are the words of a command."""
FILES = "@files"  # stands among a flag's values for the names of files


def completion_script(shell: str, pages: list[CommandPage]) -> str:
    """The script for `bash`, `zsh` or `fish`.

    Args:
        shell: one of the three.
        pages: what `read_pages` returns.
    """
    return _SCRIPTS[shell](pages)


def _values(flag: Flag) -> str:
    """What may follow a flag: words, FILES, or nothing that could be listed."""
    return FILES if flag.is_path else " ".join(flag.choices)


def _groups(pages: list[CommandPage]) -> dict[str, str]:
    """The subcommands of each command that has some: what may follow it behind `llmkit man`."""
    groups = (page for page in pages if page.path and page.subcommands)
    return {page.path[0]: " ".join(name for name, _ in page.subcommands) for page in groups}


def _takes_value(page: CommandPage) -> Iterator[Flag]:
    return (flag for flag in page.options if flag.metavar)


def _bash(pages: list[CommandPage]) -> str:
    cases = []
    for page in pages:
        names = " ".join(name for flag in page.options for name in flag.names)
        words = " ".join(name for name, _ in page.subcommands) or (
            _values(page.arguments[0]) if page.arguments else ""
        )
        cases += [f'        "{" ".join(page.path)}")', f'            flags="{names}" words="{words}"']
        cases += ['            case "$previous" in']
        for flag in _takes_value(page):
            cases.append(f'                {"|".join(flag.names)}) flags="" words="{_values(flag)}" ;;')
        if page.path == MAN:
            cases += [f'                {name}) words="{after}" ;;' for name, after in _groups(pages).items()]
        cases += ["            esac", "            ;;"]
    return _BASH_HEAD + "\n".join(cases) + _bash_tail(pages)


_BASH_HEAD = """\
# bash completion of llmkit, made by: llmkit completion bash
_llmkit() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local command="" flags="" words="" position word
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((position = 1; position < COMP_CWORD; position++)); do
        word=${COMP_WORDS[position]}
        [[ $word == -* ]] && continue
        if _llmkit_is_command "${command:+$command }$word"; then
            command="${command:+$command }$word"
        else
            break
        fi
    done
    case "$command" in
"""


def _bash_tail(pages: list[CommandPage]) -> str:
    known = "|".join(f'"{" ".join(page.path)}"' for page in pages if page.path)
    return f"""
    esac
    if [[ $current == -* && -n $flags ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    elif [[ $words == "{FILES}" ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}}

_llmkit_is_command() {{
    case "$1" in
        {known}) return 0 ;;
    esac
    return 1
}}

complete -F _llmkit llmkit
"""


def _zsh(pages: list[CommandPage]) -> str:
    functions = [
        _zsh_group(page, pages)
        if page.subcommands
        else f"{_zsh_name(page)}() {{\n{_zsh_arguments(page, pages)}\n}}"
        for page in pages
    ]
    head = "#compdef llmkit\n# zsh completion of llmkit, made by: llmkit completion zsh"
    # autoloaded from $fpath the file is the function's body; sourced, it only registers it
    tail = 'if [[ $funcstack[1] == "_llmkit" ]]; then\n    _llmkit "$@"\nelse\n    compdef _llmkit llmkit\nfi'
    return "\n\n".join([head, *functions, tail]) + "\n"


def _zsh_group(page: CommandPage, pages: list[CommandPage]) -> str:
    listed = "\n".join(f"        {_quote(f'{name}:{text}')}" for name, text in page.subcommands)
    branches = "\n".join(
        f"                {other.path[-1]}) {_zsh_name(other)} ;;"
        for other in pages
        if len(other.path) == len(page.path) + 1 and other.path[:-1] == page.path
    )
    flags = "".join(f" \\\n        {spec}" for flag in page.options for spec in _zsh_specs(flag))
    return f"""{_zsh_name(page)}() {{
    local curcontext="$curcontext" state line
    local -a commands=(
{listed}
    )
    _arguments -C{flags} \\
        '1: :->command' \\
        '*:: :->arguments'
    case $state in
        command) _describe 'command' commands ;;
        arguments)
            case $line[1] in
{branches}
            esac
            ;;
    esac
}}"""


def _zsh_arguments(page: CommandPage, pages: list[CommandPage]) -> str:
    specs = [spec for flag in page.options for spec in _zsh_specs(flag)]
    if page.path == MAN:
        (flag,) = page.arguments
        after = " ".join(f"{name}) compadd {words};;" for name, words in _groups(pages).items())
        specs.append(_quote(f"1:{flag.metavar}:{_zsh_action(flag)}"))
        specs.append(_quote(f"2:{flag.metavar}:{{case $line[1] in {after} esac}}"))
        return _zsh_call(specs)
    for number, flag in enumerate(page.arguments, 1):
        place = "*" if flag.repeatable else str(number)
        specs.append(_quote(f"{place}:{flag.metavar}:{_zsh_action(flag)}"))
    return _zsh_call(specs)


def _zsh_call(specs: list[str]) -> str:
    return "    _arguments -s \\\n" + " \\\n".join(f"        {spec}" for spec in specs)


def _zsh_specs(flag: Flag) -> Iterator[str]:
    others = "" if flag.repeatable else f"({' '.join(flag.names)})"
    star = "*" if flag.repeatable else ""
    text = flag.summary.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    for name in flag.names:
        value = ""
        if flag.metavar:
            value = f":{flag.metavar.strip('<>').replace(':', '')}:{_zsh_action(flag)}"
        mark = "=" if value and name.startswith("--") else ""
        yield _quote(f"{others}{star}{name}{mark}[{text}]{value}")


def _zsh_action(flag: Flag) -> str:
    if flag.is_path:
        return "_files"
    return f"({' '.join(flag.choices)})" if flag.choices else ""


def _zsh_name(page: CommandPage) -> str:
    return "_" + page.title.replace("-", "_")


def _fish(pages: list[CommandPage]) -> str:
    lines = []
    for page in pages:
        where = f"-n {_quote(' '.join(('__llmkit_at', *page.path)))}"
        takes_files = not page.subcommands and any(flag.is_path for flag in page.arguments)
        if not takes_files:
            lines.append(f"complete -c llmkit {where} -f")
        for name, text in page.subcommands:
            lines.append(f"complete -c llmkit {where} -a {name} -d {_quote(text)}")
        if page.path == MAN:
            for name, after in _groups(pages).items():
                seen = f"-n '__llmkit_at man; and __fish_seen_subcommand_from {name}'"
                lines.append(f"complete -c llmkit {seen} -a {_quote(after)}")
        for flag in page.arguments:
            if flag.choices:
                lines.append(f"complete -c llmkit {where} -a {_quote(' '.join(flag.choices))}")
        lines += [f"complete -c llmkit {where} {_fish_flag(flag)}" for flag in page.options]
    groups = " ".join(page.path[-1] for page in pages if page.path and page.subcommands)
    return _FISH_HEAD.replace("GROUPS", groups) + "\n".join(lines) + "\n"


_FISH_HEAD = """\
# fish completion of llmkit, made by: llmkit completion fish
function __llmkit_at --description 'Whether the command typed so far is the one given'
    set -l path
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; and continue
        set -a path $word
        contains -- $word GROUPS; or break
    end
    test "$path" = "$argv"
end

"""


def _fish_flag(flag: Flag) -> str:
    words = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names]
    if flag.is_path:
        words.append("-r -F")
    elif flag.choices:
        words.append(f"-x -a {_quote(' '.join(flag.choices))}")
    elif flag.metavar:
        words.append("-x")
    return " ".join([*words, f"-d {_quote(flag.summary)}"])


def _quote(text: str) -> str:
    """A word in single quotes, for zsh and fish alike."""
    return "'" + text.replace("'", "'\"'\"'") + "'"


_SCRIPTS: dict[str, Callable[[list[CommandPage]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
