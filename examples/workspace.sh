# Sourced by the examples: a fresh folder with a little text that every machine has, and each line shown.
#
#     corpus.txt  valid.txt      Python sources
#     docs.jsonl                 {"id", "text", "source"}: prose from Python's manual, as pydoc carries it
set -euo pipefail

workspace=$(mktemp -d)
trap 'rm -rf "$workspace"' EXIT
cd "$workspace"
python3 - <<'PYTHON'
import json, sysconfig
from pathlib import Path
from pydoc_data.topics import topics

library = Path(sysconfig.get_path("stdlib"))
names = "argparse ast bdb cmd configparser csv datetime difflib doctest enum fractions functools heapq".split()
Path("corpus.txt").write_text("\n".join((library / f"{name}.py").read_text("utf-8") for name in names), "utf-8")
Path("valid.txt").write_text((library / "textwrap.py").read_text("utf-8"), "utf-8")
with Path("docs.jsonl").open("w", encoding="utf-8") as out:
    for name, text in sorted(topics.items()):
        print(json.dumps({"id": name, "text": text, "source": "manual"}, ensure_ascii=False), file=out)
PYTHON
PS4='$ '
set -x
