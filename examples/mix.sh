#!/usr/bin/env bash
# Sources in given proportions, by bytes, documents and tokens; licences; the rows that a document went to.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

jq -c '.metadata = {license: "PSF-2.0"}' docs.jsonl > prose.jsonl
jq -Rsc 'split("\n\n\n") | to_entries[] | {id: "code-\(.key)", text: .value}' corpus.txt > code.jsonl
llmkit train-tokenizer prose.jsonl code.jsonl --vocab-size 1000 -o tok

llmkit mix --source prose=prose.jsonl:3 --source code=code.jsonl:1 --dry-run
llmkit mix --source prose=prose.jsonl:1 --source code=code.jsonl:1 --by documents | jq -r .source | sort | uniq -c
llmkit mix --source prose=prose.jsonl --source code=code.jsonl --temperature 3 --on-exhaust repeat -n
llmkit mix --source prose=prose.jsonl:3 --source code=code.jsonl:1 --license-deny unknown -o free || echo "$?: no code has a licence"
llmkit mix --source prose=prose.jsonl:3 --source code=code.jsonl:1:2 -t tok --total 60k -o mixed

llmkit dedup prose.jsonl -o unique.jsonl.zst --rejects dups.jsonl
llmkit pack mixed -t tok --seq-len 256 -o shards
llmkit show prose.jsonl unique.jsonl.zst dups.jsonl mixed shards --trace "$(zstd -dc mixed/part-* | jq -r .id | sed -n 1p)"
