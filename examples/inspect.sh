#!/usr/bin/env bash
# What is this, and is it sound? show and doctor on every kind of artefact.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 1024 -o tok
llmkit pack -t tok corpus.txt docs.jsonl --seq-len 128 -o shards
llmkit pretrain --data shards -t tok --steps 10 --batch-rows 8 -o run

llmkit show run
llmkit show run --tensors | head
llmkit show tok --json | jq .vocab_size
llmkit show docs.jsonl
llmkit doctor || true                 # this machine: findings are exit 1
llmkit doctor tok shards run
jq -r .command_line run/llmkit.json
