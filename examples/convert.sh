#!/usr/bin/env bash
# A model for llama.cpp and back: folder to GGUF, other dtypes, what each of them costs.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 512 -o tok
llmkit pack -t tok corpus.txt --seq-len 128 -o shards
llmkit pretrain --data shards -t tok --steps 20 --batch-rows 4 -o run

llmkit convert run run.gguf --dry-run
llmkit convert run run.gguf --check
llmkit convert run small.gguf --dtype q8_0 --check --json | jq .check
llmkit show small.gguf
llmkit generate -m small.gguf "def main" --max-tokens 20
llmkit convert run.gguf again
llmkit diff run again --only tensors
llmkit kv-estimate small.gguf
