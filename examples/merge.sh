#!/usr/bin/env bash
# Two models into one, what a low rank can hold of a difference, and an adapter back into its base.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 512 -o tok
llmkit pack -t tok corpus.txt --seq-len 128 -o shards
llmkit pretrain --data shards -t tok --steps 20 --batch-rows 4 -o run
llmkit pretrain --data shards -t tok -m run --steps 10 --batch-rows 4 -o more

llmkit merge run more --method slerp --weight 0.3 -o between
llmkit merge more between --method ties --base run --density 0.3 -o ties --dry-run
llmkit merge --expr 'base + 1.5*(tuned - base)' base=run tuned=more -o further
llmkit generate -m further "def main" --max-tokens 20

llmkit merge --extract run more --energy 0.9 -o adapter --json | jq '{explained, left_out}'
llmkit show adapter
llmkit merge run --adapter adapter:0.5 -o half --check
llmkit diff run half --only tensors || test $? = 1
