#!/usr/bin/env bash
# Documents through rules, repairs and gates; what is dropped is kept with its reason, and can be put back.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit clean --preset gopher docs.jsonl --explain | head -n 20
llmkit clean --preset fineweb --max-drop 1 docs.jsonl -o clean.jsonl.zst --rejects rejects.jsonl --report report.html
jq -r ._reject.rule rejects.jsonl | sort | uniq -c | sort -rn
jq -c 'del(._reject)' rejects.jsonl | sed -n 1p | cut -c 1-80

echo 'Write to jane.roe@example.org, or see http://192.0.2.1/' | llmkit clean --pii mask | jq -r .text
llmkit clean docs.jsonl corpus.txt valid.txt -o parts --workers 2
ls parts
