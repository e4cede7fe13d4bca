#!/usr/bin/env bash
# How fast, beside a peer, on this machine.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 2048 -o tok
llmkit bench tokenize -t tok docs.jsonl --rounds 3
