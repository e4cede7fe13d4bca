#!/usr/bin/env bash
# From text to a model that writes: a tokenizer, packed rows, a small Llama-shaped model, in a few minutes on
# two cores. The text is Python's own: the standard library, and the prose of its manual that pydoc carries.
#
#     examples/quickstart.sh [FOLDER]        (default: quickstart; it must not exist yet)
set -euo pipefail

folder=${1:-quickstart}
if [[ -e $folder ]]; then
    echo "$folder is there already: remove it, or name another folder" >&2
    exit 2
fi
mkdir -p "$folder"
cd "$folder"

step() { # show a line, then run it
    printf '\n\033[1m$ %s\033[0m\n' "$1" | if [[ -t 1 && -z ${NO_COLOR:-} ]]; then cat; else sed 's/\x1b\[[01]m//g'; fi
    eval "$1"
}

# A few megabytes of text; every tenth file is held out, so that no validation text was ever trained on.
python3 - <<'PYTHON'
import shutil, sysconfig
from pathlib import Path
from pydoc_data.topics import topics

library = Path(sysconfig.get_path("stdlib"))
folders = "asyncio collections concurrent email html http importlib json logging unittest urllib".split()
files = [p for where in (library, *(library / name for name in folders)) for p in sorted(where.glob("*.py"))]
for number, path in enumerate(files):
    target = Path("text", "valid" if number % 10 == 9 else "train", path.relative_to(library))
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)
for number, (name, prose) in enumerate(sorted(topics.items())):
    target = Path("text", "valid" if number % 10 == 9 else "train", "manual", f"{name}.txt")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(prose, encoding="utf-8")
PYTHON

step 'llmkit train-tokenizer text/train --vocab-size 2048 -o tok'
step 'llmkit tokenize -t tok text/train text/valid | tail -n 1'
step 'llmkit pack -t tok text/train -o shards --seq-len 256'
step 'llmkit pack -t tok text/valid -o shards-valid --seq-len 256'
step 'llmkit pretrain --data shards --valid shards-valid -t tok --eval-rows 200 --preset tiny --tokens 1M -o run'

# What a model that knows only how often each token occurs would reach: -sum p log p over the held-out tokens.
step "llmkit tokenize -t tok --ids text/valid | tr ' ' '\n' | sort | uniq -c |
  awk '{n[NR] = \$1; all += \$1} END {for (i in n) h -= n[i] / all * log(n[i] / all)
        printf \"unigram entropy %.4f: what counting tokens alone reaches\\n\", h}'"

step 'llmkit generate -m run "def __init__(self, " --max-tokens 80 --temperature 0.7'
step 'llmkit generate -m run "The following" --max-tokens 80 --temperature 0.7'
step 'llmkit show run'

cat <<END

In $folder:
  tok/       a tokenizer that transformers.AutoTokenizer opens
  shards/    the training rows: zstd -dc shards/shard-00000.tok.zst | od -An -tu2 | head
  run/       the model, its checkpoints and metrics: transformers.AutoModelForCausalLM opens it

Next, from that folder (with .venv/bin on your PATH):
  llmkit generate -m run "class Test" --json | jq
  llmkit tokenize -t tok --view text/valid/json/*.py
  llmkit show shards --row 0 --decode -t tok
  llmkit kv-estimate run --context 256 --batch 16
  llmkit pretrain --data shards --valid shards-valid -t tok --preset small -o run2
END
