#!/usr/bin/env bash
# guidellm asks for chats of made-up text, two at a time; it counts their tokens with the model's own tokenizer.
#   tests/server_load/guidellm.sh URL MODEL [REQUESTS]
# guidellm has its own dependencies, torch among them: an environment of its own that is on the PATH. One made beside
# llmkit's can take torch from there: a .pth file with the path of llmkit's site-packages in its own.
set -euo pipefail
url=${1:?the URL of a server} model=${2:?the folder of its model} requests=${3:-100}
export HF_HUB_OFFLINE=1
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
guidellm run --backend "kind=openai_http,target=$url" --profile kind=concurrent,streams=2 \
    --constraint "kind=max_requests,count=$requests" --tokenizer "kind=huggingface_auto,model=$model" \
    --data kind=synthetic_text,prompt_tokens=64,output_tokens=16 --output "kind=json,path=$out/report.json" \
    --disable-progress
python - "$out/report.json" "$requests" <<'PY'
import json, sys

(one,) = json.load(open(sys.argv[1], encoding="utf-8"))["benchmarks"]
told = one["metrics"]["request_totals"]
assert told["successful"] >= int(sys.argv[2]) and not told["errored"] and not told["incomplete"], told
print(f"{told['successful']} requests, none failed")
PY
