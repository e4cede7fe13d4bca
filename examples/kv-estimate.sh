#!/usr/bin/env bash
# Will it fit? Weights and KV cache from the shape of a model alone.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit kv-estimate --preset llama-3.2-1b --context 8k --batch 16
llmkit kv-estimate --preset llama-3.2-1b --context 8k --batch 16 --memory 24GiB
llmkit kv-estimate --preset llama-2-7b --context 4k --batch 32 --memory 24GiB || test $? = 1    # it does not
for context in 8k 32k 128k; do
    llmkit kv-estimate --preset llama-3.2-1b --context $context --json
done | jq -r '[.context, .kv_bytes, .total_bytes] | @tsv'
