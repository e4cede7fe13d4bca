#!/usr/bin/env bash
# Text to tokens and back: count, look, cut, gate.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 2048 -o tok

llmkit tokenize -t tok corpus.txt valid.txt docs.jsonl                    # like wc: tokens, bytes, name
llmkit tokenize -t tok --price 0.15 corpus.txt                            # and what a million at 0.15 makes of it
llmkit tokenize -t tok --ids valid.txt | llmkit tokenize -t tok --decode | cmp - valid.txt
llmkit tokenize -t tok --check docs.jsonl                                 # exit 1 where a byte would be lost
llmkit tokenize -t tok --truncate 16 --keep ends --text "$(head -n 20 valid.txt)"
llmkit tokenize -t tok --chunk 256 --overlap 32 docs.jsonl | wc -l
llmkit tokenize -t tok --max 64 --format tsv valid.txt || test $? = 1     # over the budget: exit 1
llmkit tokenize -t tok --jsonl docs.jsonl -o tokens.jsonl.zst
llmkit tokenize -t tok --raw u2 valid.txt | od -An -tu2 | sed -n 1,2p
