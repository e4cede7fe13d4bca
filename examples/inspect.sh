#!/usr/bin/env bash
# What is this, is it the same as that, is it sound? show, diff and doctor on every kind of artefact.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 1024 -o tok
llmkit pack -t tok corpus.txt docs.jsonl --seq-len 128 -o shards
llmkit pretrain --data shards -t tok --steps 10 --batch-rows 4 -o run

llmkit show run
llmkit show run --tensors | head
llmkit show tok --json | jq .vocab_size
llmkit show docs.jsonl
llmkit pretrain --data shards -t tok --steps 10 --batch-rows 4 -o run2
llmkit diff run run2                  # the same seed: the same bits
llmkit pretrain --data shards -t tok --steps 10 --batch-rows 4 --seed 1 -o run3
llmkit diff run run3 --only tensors --json | jq .tensors.max_abs || true    # they differ: exit 1
llmkit doctor || true                 # this machine: findings are exit 1
llmkit doctor tok shards run
jq -r .command_line run/llmkit.json
