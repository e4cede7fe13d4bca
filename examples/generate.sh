#!/usr/bin/env bash
# Text from a model: one prompt, a stream of prompts, probabilities.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 1024 -o tok
llmkit pretrain --data corpus.txt -t tok --seq-len 128 --steps 30 --batch-rows 16 -o run

llmkit generate -m run 'def main' --max-tokens 40 --temperature 0.7 --seed 1
echo 'class Reader:' | llmkit generate -m run --max-tokens 20 --greedy
printf '%s\n' '{"id": 1, "prompt": "import "}' '{"id": 2, "prompt": "return "}' |
    llmkit generate -m run --jsonl - --max-tokens 8 | jq -c '{id, completion}'
llmkit generate -m run 'for key, ' --max-tokens 4 --logprobs 2 --json | jq -c '.logprobs[] | {text, logprob}'
