#!/usr/bin/env bash
# A tokenizer from raw text: a folder that transformers.AutoTokenizer opens.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 2048 -o tok
llmkit show tok
llmkit tokenize -t tok --pieces --text 'def main(): return 42'

# Unigram instead of byte-level BPE, beside the first on text that neither has seen.
llmkit train-tokenizer corpus.txt docs.jsonl --type unigram --vocab-size 2048 -o tok-unigram
llmkit tokenize -t tok --compare tok-unigram valid.txt
