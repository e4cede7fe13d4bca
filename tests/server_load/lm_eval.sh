#!/usr/bin/env bash
# lm-eval against a server: multiple choice, generation and rolling perplexity, by its local-completions.
#   tests/server_load/lm_eval.sh URL MODEL_NAME TOKENIZER_FOLDER TEXTS.jsonl [WORK]
# TEXTS.jsonl: rows {"text"}. lm-eval[api] has its own dependencies: an environment of its own on the PATH.
set -euo pipefail
url=${1:?URL} name=${2:?model name} tokenizer=$(realpath "${3:?tokenizer folder}") texts=$(realpath "${4:?texts}")
work=${5:-$(mktemp -d)}
mkdir -p "$work/tasks"
printf '%s\n' '{"question": "the quick brown", "choices": ["fox", "dog", "cat"], "answer": 0}' \
    '{"question": "over the lazy", "choices": ["fox", "dog"], "answer": 1}' > "$work/choices.jsonl"
cat > "$work/tasks/llmkit_choice.yaml" <<YAML
task: llmkit_choice
dataset_path: json
dataset_kwargs: {data_files: {test: $work/choices.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
metric_list: [{metric: acc}]
YAML
cat > "$work/tasks/llmkit_generate.yaml" <<YAML
task: llmkit_generate
dataset_path: json
dataset_kwargs: {data_files: {test: $work/choices.jsonl}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs: {until: ["\n"], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match}]
YAML
cat > "$work/tasks/llmkit_perplexity.yaml" <<YAML
task: llmkit_perplexity
dataset_path: json
dataset_kwargs: {data_files: {test: $texts}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]
YAML
export HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1
model="model=$name,base_url=$url/v1/completions,tokenizer=$tokenizer,tokenizer_backend=huggingface"
exec lm_eval --model local-completions --model_args "$model,num_concurrent=2,max_length=${MAX_LENGTH:-2048}" \
    --include_path "$work/tasks" --tasks "${TASKS:-llmkit_choice,llmkit_generate,llmkit_perplexity}" \
    --output_path "$work/results"
