#!/usr/bin/env bash
# Documents to rows of one length in seekable-zstd shards, and back out of them.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt docs.jsonl --vocab-size 2048 -o tok

llmkit tokenize -t tok --jsonl docs.jsonl | llmkit pack -t tok --seq-len 256 -o shards
llmkit show shards
llmkit show shards --verify
llmkit show shards --row 0 --decode -t tok | head -n 20
llmkit show shards --trace assert
zstd -dc shards/shard-00000.tok.zst | od -An -tu2 | sed -n 1,2p
