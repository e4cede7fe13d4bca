#!/usr/bin/env bash
# Passages from documents: an index, questions, prompts with citations, and how good what is found is.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit retrieve index docs.jsonl --chunk 128 --overlap 16 -o docs.index
llmkit retrieve query docs.index 'how is a while loop ended?' -k 2
echo '{"id": 1, "query": "raise an exception"}' | llmkit retrieve context docs.index --budget 200 |
    jq -r '.prompt, (.citations[] | "[\(.mark)] \(.document) \(.start)-\(.end)")'
jq -c '{query: "what is \(.id | ascii_downcase)?", relevant: [.id]}' docs.jsonl > asked.jsonl
llmkit retrieve eval asked.jsonl --index docs.index -k 5 --min-recall 0.5
echo '{"id": "new", "text": "A brand new statement."}' | llmkit retrieve index - --add --delete assert -o docs.index
