#!/usr/bin/env bash
# A model behind OpenAI's endpoints: keys with limits, a stream, probabilities, figures, a clean end.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 1024 -o tok
llmkit pretrain --data corpus.txt -t tok --seq-len 128 --steps 20 --batch-rows 4 -o run

llmkit serve --new-key alice > keys.toml 2> key.txt
echo 'requests_per_minute = 60' >> keys.toml
key=$(grep -o 'lk-.*' key.txt)

llmkit serve -m run --name small --unix-socket llm.sock --keys keys.toml --usage usage.db --log requests.jsonl &
server=$!
until curl -sf --unix-socket llm.sock http://llmkit/ready; do sleep 0.2; done

ask() { curl -s --unix-socket llm.sock -H "authorization: Bearer $key" "http://llmkit$1" "${@:2}"; }
ask /v1/models | jq -c '.data[] | {id, max_model_len}'
ask /v1/completions -d '{"prompt": "def main", "max_tokens": 12, "temperature": 0}' | jq -c '.choices[0].text'
ask /v1/completions -d '{"prompt": "import ", "max_tokens": 6, "stream": true}' | tail -n 2
ask /v1/chat/completions -d '{"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 8, "logprobs": true}' |
    jq -c '.usage'
ask /v1/completions -d '{"prompt": "a", "best_of": 5}' | jq -c '.error | {param, message}'
ask /tokenize -d '{"prompt": "def main"}' | jq -c .count

kill -TERM "$server" && wait "$server"
jq -c '{path, status, completion_tokens}' requests.jsonl
llmkit serve --show-usage --usage usage.db --json | jq -c '.rows[] | {key, requests}'
