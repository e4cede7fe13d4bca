#!/usr/bin/env bash
# Fewer bits a weight: what each costs, which parts matter, a budget, a gate, and the files that others open.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 512 -o tok
llmkit pack -t tok corpus.txt --seq-len 128 -o shards
llmkit pretrain --data shards -t tok --num-hidden-layers 2 --steps 20 --batch-rows 4 -o run

llmkit quantize run --format gguf -c corpus.txt --calibration-tokens 2k --sweep 8,5,3 | jq -r '[.type, .bits_per_weight, .quality.kld] | @tsv'
llmkit quantize run -c corpus.txt --score-tokens 1k --sensitivity --type int4-g32 | sed -n 1,8p
llmkit quantize run small.gguf --type Q8_0 -c corpus.txt --calibration-tokens 4k --max-kl 0.01
llmkit generate -m small.gguf "def main" --max-tokens 20
llmkit quantize run int4 --type int4-g32 -c corpus.txt --calibration-tokens 4k --json | jq '.bits_per_weight, .quality.ratio'
llmkit generate -m int4 "def main" --max-tokens 20
llmkit convert int4 plain --dequantize
