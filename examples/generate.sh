#!/usr/bin/env bash
# Text from a model: one prompt, a stream of prompts, probabilities, grammars, a conversation.
source "$(dirname "${BASH_SOURCE[0]}")/workspace.sh"

llmkit train-tokenizer corpus.txt --vocab-size 1024 -o tok
llmkit pretrain --data corpus.txt -t tok --seq-len 128 --steps 20 --batch-rows 4 -o run

llmkit generate -m run 'def main' --max-tokens 40 --temperature 0.7 --seed 1
echo 'class Reader:' | llmkit generate -m run --max-tokens 20 --greedy
printf '%s\n' '{"id": 1, "prompt": "import "}' '{"id": 2, "prompt": "return "}' |
    llmkit generate -m run --jsonl - --max-tokens 8 | jq -c '{id, completion}'
llmkit generate -m run 'for key, ' --max-tokens 4 --logprobs 2 --json | jq -c '.logprobs[] | {text, logprob}'
llmkit generate -m run 'version = ' --regex '[0-9]\.[0-9]{1,2}' --seed 2
llmkit generate -m run 'import ' --explain-step --top-k 20 --top-p 0.9
printf '%s\n' 'What is a module?' 'And a class?' |
    llmkit chat -m run --max-tokens 10 --transcript talk.jsonl
echo 'Why?' | llmkit chat -m run --max-tokens 10 --transcript talk.jsonl --resume --json | jq -c '{turn, completion}'
jq -c '.messages[].role' talk.jsonl
