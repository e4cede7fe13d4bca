#!/usr/bin/env bash
# Duplicates out of documents: near ones with their clusters, exact ones as a stream, lines, spans, a second corpus.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

jq -c '.id = .id + "-mirror" | .source = "web" | .text = "Mirrored page. " + .text' docs.jsonl > mirror.jsonl
llmkit dedup docs.jsonl mirror.jsonl --dry-run
llmkit dedup docs.jsonl mirror.jsonl --prefer 'source:manual>web' -o unique.jsonl.zst --rejects dups.jsonl --clusters clusters.jsonl
head -n 2 clusters.jsonl
jq -c ._reject dups.jsonl | sed -n 1,2p

cat docs.jsonl docs.jsonl | llmkit dedup --by exact | wc -l
llmkit dedup --by line docs.jsonl -o lines.jsonl
llmkit dedup --by substring docs.jsonl mirror.jsonl --span 20 -o spans.jsonl
llmkit dedup --by substring docs.jsonl mirror.jsonl --span 20 --drop-above 0.5 -o originals.jsonl
llmkit dedup docs.jsonl -o kept.jsonl --save-index index
llmkit dedup mirror.jsonl --against index -o new.jsonl
llmkit dedup docs.jsonl mirror.jsonl -o parts --workers 2
ls parts
