#!/usr/bin/env bash
# Teach a small model answers, as a whole and by an adapter; then a preference between answers.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 1024 -o tok
llmkit pretrain --data corpus.txt -t tok --seq-len 128 --steps 20 --batch-rows 4 -o run -q
for n in {1..60}; do echo "{\"prompt\": \"Say $n.\", \"completion\": \"It is $n.\"}"; done > answers.jsonl
for n in {1..60}; do echo "{\"prompt\": \"Say $n.\", \"chosen\": \"It is $n.\", \"rejected\": \"No.\"}"; done > pairs.jsonl

llmkit finetune run --data answers.jsonl -o tuned --valid-fraction 0.2 --dry-run
llmkit finetune run --data answers.jsonl -o tuned --valid-fraction 0.2 --epochs 4 --sample-prompt "Say 7." --show-mask 1
llmkit finetune tuned --data pairs.jsonl --method dpo --lora -o adapter --valid-fraction 0.2 --steps 10
llmkit show adapter
