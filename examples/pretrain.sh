#!/usr/bin/env bash
# A small model from scratch, stopped half-way and resumed by the same line.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 1024 -o tok
llmkit pack -t tok corpus.txt docs.jsonl --seq-len 128 -o shards

llmkit pretrain --data shards --valid valid.txt -t tok --steps 20 --batch-rows 8 -o run --dry-run
llmkit pretrain --data shards --valid valid.txt -t tok --steps 20 --batch-rows 8 -o run --max-time 1s || test $? = 75
llmkit pretrain --data shards --valid valid.txt -t tok --steps 20 --batch-rows 8 -o run
llmkit show run
