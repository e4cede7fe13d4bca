# bash completion of llmkit, made by: llmkit completion bash
_llmkit() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    local command="" flags="" words="" position word
    if [[ $current == "=" ]]; then
        current=""
    elif [[ $previous == "=" ]]; then
        previous=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((position = 1; position < COMP_CWORD; position++)); do
        word=${COMP_WORDS[position]}
        [[ $word == -* ]] && continue
        if _llmkit_is_command "${command:+$command }$word"; then
            command="${command:+$command }$word"
        else
            break
        fi
    done
    case "$command" in
        "")
            flags="--version -h --help" words="clean dedup mix train-tokenizer tokenize pack pretrain finetune merge quantize convert generate chat serve retrieve eval inspect-attention kv-estimate bench show diff doctor completion man"
            case "$previous" in
            esac
            ;;
        "clean")
            flags="--preset --rules --extract --time-per-document --fix-encoding --lang --lang-model --boilerplate --pii --license-allow --license-deny --require-license --detect-license --against --mode --field -o --out --rejects --report --max-drop --fail-if-dropped-over --explain --workers --shard --executor --force --skip-bad --unbuffered -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --preset) flags="" words="c4 c4-tfds c4-paragraphs gopher gopher-repetition gopher-quality fineweb fineweb-quality refinedweb ocr markup code boilerplate" ;;
                --rules) flags="" words="@files" ;;
                --extract) flags="" words="fast precise none" ;;
                --time-per-document) flags="" words="" ;;
                --lang) flags="" words="" ;;
                --lang-model) flags="" words="@files" ;;
                --pii) flags="" words="mask tag drop" ;;
                --license-allow) flags="" words="" ;;
                --license-deny) flags="" words="" ;;
                --require-license) flags="" words="" ;;
                --against) flags="" words="@files" ;;
                --mode) flags="" words="drop tag" ;;
                --field) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --report) flags="" words="@files" ;;
                --max-drop) flags="" words="" ;;
                --fail-if-dropped-over) flags="" words="" ;;
                --workers) flags="" words="" ;;
                --shard) flags="" words="" ;;
                --executor) flags="" words="inline process ray" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "dedup")
            flags="--by --key --near --similarity --bands --rows --hashes --ngram --unit --verify --no-verify --transitive --prefer --min-words --span --drop-above --against --save-index --mode -o --out --rejects --clusters --report --field --memory --workers --executor --shard --fail-if-dropped-over --force --skip-bad --unbuffered -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --by) flags="" words="near exact paragraph line substring" ;;
                --key) flags="" words="" ;;
                --near|--similarity) flags="" words="" ;;
                --bands) flags="" words="" ;;
                --rows) flags="" words="" ;;
                --hashes) flags="" words="" ;;
                --ngram) flags="" words="" ;;
                --unit) flags="" words="word char" ;;
                --prefer) flags="" words="" ;;
                --min-words) flags="" words="" ;;
                --span) flags="" words="" ;;
                --drop-above) flags="" words="" ;;
                --against) flags="" words="@files" ;;
                --save-index) flags="" words="@files" ;;
                --mode) flags="" words="drop tag" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --clusters) flags="" words="@files" ;;
                --report) flags="" words="@files" ;;
                --field) flags="" words="" ;;
                --memory) flags="" words="" ;;
                --workers) flags="" words="" ;;
                --executor) flags="" words="inline process ray" ;;
                --shard) flags="" words="" ;;
                --fail-if-dropped-over) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "mix")
            flags="--source --by -t --tokenizer --total --temperature --on-exhaust --strict --license-allow --license-deny --require-license --seed --field -o --out --rejects --report --workers --executor --shard --force --skip-bad -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                --source) flags="" words="" ;;
                --by) flags="" words="tokens bytes documents" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --total) flags="" words="" ;;
                --temperature) flags="" words="" ;;
                --on-exhaust) flags="" words="stop drop repeat" ;;
                --license-allow) flags="" words="" ;;
                --license-deny) flags="" words="" ;;
                --require-license) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --field) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --report) flags="" words="@files" ;;
                --workers) flags="" words="" ;;
                --executor) flags="" words="inline process ray" ;;
                --shard) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "train-tokenizer")
            flags="-o --out --vocab --vocab-size --type --pattern --normalize --bos --eos --pad --chat --no-chat --special --character-coverage --max-bytes --seed --valid --min-bytes-per-token --field --force --skip-bad --rejects -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --vocab|--vocab-size) flags="" words="" ;;
                --type) flags="" words="bpe unigram" ;;
                --pattern) flags="" words="gpt2 gpt4 llama3 qwen2" ;;
                --normalize) flags="" words="none nfc nfkc" ;;
                --bos) flags="" words="" ;;
                --eos) flags="" words="" ;;
                --pad) flags="" words="" ;;
                --special) flags="" words="" ;;
                --character-coverage) flags="" words="" ;;
                --max-bytes) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --valid) flags="" words="@files" ;;
                --min-bytes-per-token) flags="" words="" ;;
                --field) flags="" words="" ;;
                --rejects) flags="" words="@files" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "tokenize")
            flags="-t --tokenizer --text --files-from --files0-from --count --ids --pieces --offsets --view --jsonl --raw --decode --truncate --keep --chunk --overlap --check --compare --by --max --price --per-record --format --json --bos --eos --allow-special --generation-prompt --field --keep-text -o --out --force --skip-bad --rejects --unbuffered --threads -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -t|--tokenizer) flags="" words="@files" ;;
                --text) flags="" words="" ;;
                --files-from) flags="" words="@files" ;;
                --files0-from) flags="" words="@files" ;;
                --raw) flags="" words="u2 u4" ;;
                --truncate) flags="" words="" ;;
                --keep) flags="" words="head tail middle ends" ;;
                --chunk) flags="" words="" ;;
                --overlap) flags="" words="" ;;
                --compare) flags="" words="@files" ;;
                --by) flags="" words="" ;;
                --max) flags="" words="" ;;
                --price) flags="" words="" ;;
                --format) flags="" words="text tsv jsonl json" ;;
                --field) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --threads) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "pack")
            flags="-o --out -t --tokenizer --seq-len --strategy --long --boundary --fim --fim-rate --fim-spm --fim-spm-rate --shuffle --no-shuffle --seed --shard-tokens --field --threads --workers --resume --force --skip-bad --rejects -MF --make-rule -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --seq-len) flags="" words="" ;;
                --strategy) flags="" words="best-fit greedy concat" ;;
                --long) flags="" words="split truncate drop" ;;
                --boundary) flags="" words="auto none bos eos both" ;;
                --fim|--fim-rate) flags="" words="" ;;
                --fim-spm|--fim-spm-rate) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --shard-tokens) flags="" words="" ;;
                --field) flags="" words="" ;;
                --threads|--workers) flags="" words="" ;;
                --rejects) flags="" words="@files" ;;
                -MF|--make-rule) flags="" words="@files" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "pretrain")
            flags="-o --out --data -t --tokenizer --valid --preset -m --model --rope-scaling --model-type --hidden-size --intermediate-size --num-hidden-layers --num-attention-heads --num-key-value-heads --head-dim --num-experts --num-experts-per-tok --moe-intermediate-size --max-position-embeddings --rope-theta --qk-norm --final-logit-softcapping --tie-word-embeddings --no-tie-word-embeddings --initializer-range --vocab-size --seq-len --steps --epochs --tokens --tokens-per-parameter --target-flops --batch-rows --batch-tokens --batch-ramp --micro-batch-rows --lr --mup-base-width --min-lr-ratio --schedule --warmup-steps --decay-ratio --optimizer --momentum --beta1 --beta2 --weight-decay --clip --z-loss --router-aux-loss-coef --router-z-loss-coef --router-bias-update --seed --dtype --fp8 --document-mask --no-document-mask --on-nonfinite --on-spike --max-rewinds --eval-every --eval-rows --sample-every --sample-prompt --sample-tokens --sample-temperature --checkpoint-every --keep --keep-every --async-checkpoint --resume --max-time --fail-above --metrics --tensorboard --log-norms --profile --compile --activation-checkpointing --device --threads --nproc --max-restarts --dp --fsdp --tp --pp --ep --cp --overfit-batch --find-lr -n --dry-run --calibrate --force --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --data) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --valid) flags="" words="@files" ;;
                --preset) flags="" words="tiny tiny-moe tiny-moe-free small small-moe medium base large xl nanogpt-cpu stories15m gpt2 gpt2-medium gpt2-large gpt2-xl smollm2-135m qwen3-0.6b tinyllama-1.1b llama-3.2-1b llama-2-7b llama-3.1-8b llama-3.1-70b mistral-7b-v0.3 qwen3-8b" ;;
                -m|--model) flags="" words="@files" ;;
                --rope-scaling) flags="" words="" ;;
                --model-type) flags="" words="" ;;
                --hidden-size) flags="" words="" ;;
                --intermediate-size) flags="" words="" ;;
                --num-hidden-layers) flags="" words="" ;;
                --num-attention-heads) flags="" words="" ;;
                --num-key-value-heads) flags="" words="" ;;
                --head-dim) flags="" words="" ;;
                --num-experts) flags="" words="" ;;
                --num-experts-per-tok) flags="" words="" ;;
                --moe-intermediate-size) flags="" words="" ;;
                --max-position-embeddings) flags="" words="" ;;
                --rope-theta) flags="" words="" ;;
                --qk-norm) flags="" words="none head projection" ;;
                --final-logit-softcapping) flags="" words="" ;;
                --initializer-range) flags="" words="" ;;
                --vocab-size) flags="" words="" ;;
                --seq-len) flags="" words="" ;;
                --steps) flags="" words="" ;;
                --epochs) flags="" words="" ;;
                --tokens) flags="" words="" ;;
                --tokens-per-parameter) flags="" words="" ;;
                --target-flops) flags="" words="" ;;
                --batch-rows) flags="" words="" ;;
                --batch-tokens) flags="" words="" ;;
                --batch-ramp) flags="" words="" ;;
                --micro-batch-rows) flags="" words="" ;;
                --lr) flags="" words="" ;;
                --mup-base-width) flags="" words="" ;;
                --min-lr-ratio) flags="" words="" ;;
                --schedule) flags="" words="cosine wsd linear inverse-sqrt constant" ;;
                --warmup-steps) flags="" words="" ;;
                --decay-ratio) flags="" words="" ;;
                --optimizer) flags="" words="adamw muon" ;;
                --momentum) flags="" words="" ;;
                --beta1) flags="" words="" ;;
                --beta2) flags="" words="" ;;
                --weight-decay) flags="" words="" ;;
                --clip) flags="" words="" ;;
                --z-loss) flags="" words="" ;;
                --router-aux-loss-coef) flags="" words="" ;;
                --router-z-loss-coef) flags="" words="" ;;
                --router-bias-update) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16" ;;
                --on-nonfinite) flags="" words="stop skip" ;;
                --on-spike) flags="" words="ignore skip stop rewind" ;;
                --max-rewinds) flags="" words="" ;;
                --eval-every) flags="" words="" ;;
                --eval-rows) flags="" words="" ;;
                --sample-every) flags="" words="" ;;
                --sample-prompt) flags="" words="" ;;
                --sample-tokens) flags="" words="" ;;
                --sample-temperature) flags="" words="" ;;
                --checkpoint-every) flags="" words="" ;;
                --keep) flags="" words="" ;;
                --keep-every) flags="" words="" ;;
                --resume) flags="" words="auto never must" ;;
                --max-time) flags="" words="" ;;
                --fail-above) flags="" words="" ;;
                --metrics) flags="" words="@files" ;;
                --tensorboard) flags="" words="@files" ;;
                --log-norms) flags="" words="" ;;
                --profile) flags="" words="" ;;
                --activation-checkpointing) flags="" words="none selective full" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --nproc) flags="" words="" ;;
                --max-restarts) flags="" words="" ;;
                --dp) flags="" words="" ;;
                --fsdp) flags="" words="" ;;
                --tp) flags="" words="" ;;
                --pp) flags="" words="" ;;
                --ep) flags="" words="" ;;
                --cp) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "finetune")
            flags="-o --out --data --valid --valid-fraction --method --lora --rank --alpha --dropout --targets --lora-layers --save-modules --rslora --dora --qlora --last-layers -t --tokenizer --template --max-tokens --long --seq-len --rope-scaling --show-mask --strict --rejects --skip-bad --beta --gamma --label-smoothing --desirable-weight --undesirable-weight --teacher --temperature --direction --hard-weight --reward --reward-timeout --group-size --completion-tokens --updates-per-rollout --clip-ratio --steps --epochs --tokens --batch-rows --batch-tokens --micro-batch-rows --lr --min-lr-ratio --schedule --warmup-steps --decay-ratio --beta1 --beta2 --weight-decay --clip --router-aux-loss-coef --router-z-loss-coef --router-bias-update --seed --dtype --on-nonfinite --on-spike --patience --eval-every --eval-rows --sample-every --sample-prompt --sample-tokens --sample-temperature --checkpoint-every --keep --keep-every --resume --max-time --fail-above --metrics --tensorboard --log-norms --profile --compile --activation-checkpointing --device --threads --nproc --max-restarts -n --dry-run --force --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --data) flags="" words="@files" ;;
                --valid) flags="" words="@files" ;;
                --valid-fraction) flags="" words="" ;;
                --method) flags="" words="sft dpo ipo hinge robust orpo kto simpo grpo kd" ;;
                --lora) flags="" words="" ;;
                --rank) flags="" words="" ;;
                --alpha) flags="" words="" ;;
                --dropout) flags="" words="" ;;
                --targets) flags="" words="" ;;
                --lora-layers) flags="" words="" ;;
                --save-modules) flags="" words="" ;;
                --last-layers) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --template) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --long) flags="" words="cut drop error" ;;
                --seq-len) flags="" words="" ;;
                --rope-scaling) flags="" words="" ;;
                --show-mask) flags="" words="" ;;
                --rejects) flags="" words="@files" ;;
                --beta) flags="" words="" ;;
                --gamma) flags="" words="" ;;
                --label-smoothing) flags="" words="" ;;
                --desirable-weight) flags="" words="" ;;
                --undesirable-weight) flags="" words="" ;;
                --teacher) flags="" words="@files" ;;
                --temperature) flags="" words="" ;;
                --direction) flags="" words="forward reverse" ;;
                --hard-weight) flags="" words="" ;;
                --reward) flags="" words="" ;;
                --reward-timeout) flags="" words="" ;;
                --group-size) flags="" words="" ;;
                --completion-tokens) flags="" words="" ;;
                --updates-per-rollout) flags="" words="" ;;
                --clip-ratio) flags="" words="" ;;
                --steps) flags="" words="" ;;
                --epochs) flags="" words="" ;;
                --tokens) flags="" words="" ;;
                --batch-rows) flags="" words="" ;;
                --batch-tokens) flags="" words="" ;;
                --micro-batch-rows) flags="" words="" ;;
                --lr) flags="" words="" ;;
                --min-lr-ratio) flags="" words="" ;;
                --schedule) flags="" words="cosine wsd linear inverse-sqrt constant" ;;
                --warmup-steps) flags="" words="" ;;
                --decay-ratio) flags="" words="" ;;
                --beta1) flags="" words="" ;;
                --beta2) flags="" words="" ;;
                --weight-decay) flags="" words="" ;;
                --clip) flags="" words="" ;;
                --router-aux-loss-coef) flags="" words="" ;;
                --router-z-loss-coef) flags="" words="" ;;
                --router-bias-update) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16" ;;
                --on-nonfinite) flags="" words="stop skip" ;;
                --on-spike) flags="" words="ignore skip stop" ;;
                --patience) flags="" words="" ;;
                --eval-every) flags="" words="" ;;
                --eval-rows) flags="" words="" ;;
                --sample-every) flags="" words="" ;;
                --sample-prompt) flags="" words="" ;;
                --sample-tokens) flags="" words="" ;;
                --sample-temperature) flags="" words="" ;;
                --checkpoint-every) flags="" words="" ;;
                --keep) flags="" words="" ;;
                --keep-every) flags="" words="" ;;
                --resume) flags="" words="auto never must" ;;
                --max-time) flags="" words="" ;;
                --fail-above) flags="" words="" ;;
                --metrics) flags="" words="@files" ;;
                --tensorboard) flags="" words="@files" ;;
                --log-norms) flags="" words="" ;;
                --profile) flags="" words="" ;;
                --activation-checkpointing) flags="" words="none selective full" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --nproc) flags="" words="" ;;
                --max-restarts) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "merge")
            flags="-o --out --lora --adapter --into --method --base --weight --density --normalize --no-normalize --scale --expr --extract --rank --energy --dtype --max-shard-size -t --tokenizer --no-tokenizer --check --tolerance --threads --seed -n --dry-run --force --log-every --json --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --lora|--adapter) flags="" words="" ;;
                --into) flags="" words="" ;;
                --method) flags="" words="linear slerp task ties dare dare-ties model-stock" ;;
                --base) flags="" words="@files" ;;
                --weight) flags="" words="" ;;
                --density) flags="" words="" ;;
                --scale) flags="" words="" ;;
                --expr) flags="" words="" ;;
                --rank) flags="" words="" ;;
                --energy) flags="" words="" ;;
                --dtype) flags="" words="float32 float16 bfloat16" ;;
                --max-shard-size) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --tolerance) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "quantize")
            flags="-o --out --type --bits --group --format --method --scale -c --calib --calibration --calibration-tokens --imatrix --score --score-tokens --seq-len --embeddings --head --tensor --budget-bpw --fit --sensitivity --kv-report --save-imatrix --sweep --max-kl --max-ppl-increase -t --tokenizer --no-tokenizer --max-shard-size --resume --seed --threads -n --dry-run --force --log-every --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --type) flags="" words="Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M Q3_K_S Q2_K Q2_K_S F32 F16 BF16 int8 int4-g128 int4-g32-asym mlx-4bit-g64 fp8-channel" ;;
                --bits) flags="" words="" ;;
                --group) flags="" words="" ;;
                --format) flags="" words="gguf compressed-tensors gptq awq mlx" ;;
                --method) flags="" words="nearest feedback" ;;
                -c|--calib|--calibration) flags="" words="@files" ;;
                --calibration-tokens) flags="" words="" ;;
                --imatrix) flags="" words="@files" ;;
                --score) flags="" words="@files" ;;
                --score-tokens) flags="" words="" ;;
                --seq-len) flags="" words="" ;;
                --embeddings) flags="" words="" ;;
                --head) flags="" words="" ;;
                --tensor) flags="" words="" ;;
                --budget-bpw) flags="" words="" ;;
                --fit) flags="" words="" ;;
                --save-imatrix) flags="" words="@files" ;;
                --sweep) flags="" words="" ;;
                --max-kl) flags="" words="" ;;
                --max-ppl-increase) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --max-shard-size) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "convert")
            flags="--to --dtype --dequantize --max-shard-size --tie --untie -t --tokenizer --no-tokenizer --add-token --base --check --tolerance -n --dry-run --force --log-every --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --to) flags="" words="gguf safetensors" ;;
                --dtype) flags="" words="float32 float16 bfloat16 q8_0" ;;
                --max-shard-size) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --add-token) flags="" words="" ;;
                --base) flags="" words="@files" ;;
                --tolerance) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "generate")
            flags="-m --model -p --prompt -f --file --jsonl --template -t --tokenizer --chat --system --chat-template-kwargs --chat-template-config --prefill --suffix --allow-special --max-tokens --greedy --temperature --top-k --top-p --min-p --typical-p --top-n-sigma --xtc-probability --xtc-threshold --samplers --adaptive-target --adaptive-decay --mirostat --mirostat-tau --mirostat-eta --repetition-penalty --presence-penalty --frequency-penalty --repeat-last-n --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker --logit-bias --json-schema --regex --choice --grammar --stop --stop-id --tool --tool-schema --tool-choice --approve --max-calls --tool-timeout --tool-output --replay --ignore-eos --seed --samples --logprobs --json --explain-step --echo -x --extract-code --mark-below --require --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --tp --adapter --adapters --draft --draft-tokens --prompt-cache --prompt-cache-read-only --cache-offload --batch --unordered -o --out --resume --force --skip-bad --rejects --unbuffered -n --dry-run --stats --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                -m|--model) flags="" words="@files" ;;
                -p|--prompt) flags="" words="" ;;
                -f|--file) flags="" words="@files" ;;
                --jsonl) flags="" words="@files" ;;
                --template) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --system) flags="" words="" ;;
                --chat-template-kwargs|--chat-template-config) flags="" words="" ;;
                --prefill) flags="" words="" ;;
                --suffix) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --temperature) flags="" words="" ;;
                --top-k) flags="" words="" ;;
                --top-p) flags="" words="" ;;
                --min-p) flags="" words="" ;;
                --typical-p) flags="" words="" ;;
                --top-n-sigma) flags="" words="" ;;
                --xtc-probability) flags="" words="" ;;
                --xtc-threshold) flags="" words="" ;;
                --samplers) flags="" words="" ;;
                --adaptive-target) flags="" words="" ;;
                --adaptive-decay) flags="" words="" ;;
                --mirostat) flags="" words="" ;;
                --mirostat-tau) flags="" words="" ;;
                --mirostat-eta) flags="" words="" ;;
                --repetition-penalty) flags="" words="" ;;
                --presence-penalty) flags="" words="" ;;
                --frequency-penalty) flags="" words="" ;;
                --repeat-last-n) flags="" words="" ;;
                --dry-multiplier) flags="" words="" ;;
                --dry-base) flags="" words="" ;;
                --dry-allowed-length) flags="" words="" ;;
                --dry-penalty-last-n) flags="" words="" ;;
                --dry-sequence-breaker) flags="" words="" ;;
                --logit-bias) flags="" words="" ;;
                --json-schema) flags="" words="" ;;
                --regex) flags="" words="" ;;
                --choice) flags="" words="" ;;
                --grammar) flags="" words="" ;;
                --stop) flags="" words="" ;;
                --stop-id) flags="" words="" ;;
                --tool) flags="" words="" ;;
                --tool-schema) flags="" words="" ;;
                --tool-choice) flags="" words="" ;;
                --approve) flags="" words="ask auto never" ;;
                --max-calls) flags="" words="" ;;
                --tool-timeout) flags="" words="" ;;
                --tool-output) flags="" words="" ;;
                --replay) flags="" words="@files" ;;
                --seed) flags="" words="" ;;
                --samples) flags="" words="" ;;
                --logprobs) flags="" words="" ;;
                --mark-below) flags="" words="" ;;
                --require) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --tp) flags="" words="" ;;
                --adapter|--adapters) flags="" words="" ;;
                --draft) flags="" words="" ;;
                --draft-tokens) flags="" words="" ;;
                --prompt-cache) flags="" words="@files" ;;
                --cache-offload) flags="" words="" ;;
                --batch) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "chat")
            flags="-m --model -t --tokenizer --system --chat-template-kwargs --chat-template-config -c --context --transcript --resume --max-tokens --greedy --temperature --top-k --top-p --min-p --typical-p --top-n-sigma --xtc-probability --xtc-threshold --samplers --adaptive-target --adaptive-decay --mirostat --mirostat-tau --mirostat-eta --repetition-penalty --presence-penalty --frequency-penalty --repeat-last-n --dry-multiplier --dry-base --dry-allowed-length --dry-penalty-last-n --dry-sequence-breaker --logit-bias --json-schema --regex --choice --grammar --stop --stop-id --tool --tool-schema --tool-choice --approve --max-calls --tool-timeout --tool-output --replay --seed --json --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --adapter --adapters --draft --draft-tokens --prompt-cache --prompt-cache-read-only --cache-offload --force --unbuffered -n --dry-run --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -m|--model) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --system) flags="" words="" ;;
                --chat-template-kwargs|--chat-template-config) flags="" words="" ;;
                -c|--context) flags="" words="" ;;
                --transcript) flags="" words="@files" ;;
                --max-tokens) flags="" words="" ;;
                --temperature) flags="" words="" ;;
                --top-k) flags="" words="" ;;
                --top-p) flags="" words="" ;;
                --min-p) flags="" words="" ;;
                --typical-p) flags="" words="" ;;
                --top-n-sigma) flags="" words="" ;;
                --xtc-probability) flags="" words="" ;;
                --xtc-threshold) flags="" words="" ;;
                --samplers) flags="" words="" ;;
                --adaptive-target) flags="" words="" ;;
                --adaptive-decay) flags="" words="" ;;
                --mirostat) flags="" words="" ;;
                --mirostat-tau) flags="" words="" ;;
                --mirostat-eta) flags="" words="" ;;
                --repetition-penalty) flags="" words="" ;;
                --presence-penalty) flags="" words="" ;;
                --frequency-penalty) flags="" words="" ;;
                --repeat-last-n) flags="" words="" ;;
                --dry-multiplier) flags="" words="" ;;
                --dry-base) flags="" words="" ;;
                --dry-allowed-length) flags="" words="" ;;
                --dry-penalty-last-n) flags="" words="" ;;
                --dry-sequence-breaker) flags="" words="" ;;
                --logit-bias) flags="" words="" ;;
                --json-schema) flags="" words="" ;;
                --regex) flags="" words="" ;;
                --choice) flags="" words="" ;;
                --grammar) flags="" words="" ;;
                --stop) flags="" words="" ;;
                --stop-id) flags="" words="" ;;
                --tool) flags="" words="" ;;
                --tool-schema) flags="" words="" ;;
                --tool-choice) flags="" words="" ;;
                --approve) flags="" words="ask auto never" ;;
                --max-calls) flags="" words="" ;;
                --tool-timeout) flags="" words="" ;;
                --tool-output) flags="" words="" ;;
                --replay) flags="" words="@files" ;;
                --seed) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --adapter|--adapters) flags="" words="" ;;
                --draft) flags="" words="" ;;
                --draft-tokens) flags="" words="" ;;
                --prompt-cache) flags="" words="@files" ;;
                --cache-offload) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "serve")
            flags="-m --model --name -t --tokenizer --host --port --unix-socket --ready-fd --replicas --tp --engine --max-replicas --worker --worker-key --admin-port --admin-socket --rollback-margin --keys --api-key-file --usage --new-key --show-usage --cors --tls-cert --tls-key --log --log-prompts --queue-requests --queue-tokens --long-prompt-tokens --long-places --drain-seconds --prompt-seconds --prompt-workers --response-bytes --response-seconds --tool-form --reasoning-format --tool --tool-schema --max-calls --tool-timeout --tool-output --retrieve --retrieve-by --retrieve-embed-url --retrieve-embed-name --retrieve-embed-key --retrieve-key --adapter --adapters --batch --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --draft --draft-tokens --cache-offload -n --dry-run --json --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                -m|--model) flags="" words="" ;;
                --name) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --host) flags="" words="" ;;
                --port) flags="" words="" ;;
                --unix-socket) flags="" words="@files" ;;
                --ready-fd) flags="" words="" ;;
                --replicas) flags="" words="" ;;
                --tp) flags="" words="" ;;
                --engine) flags="" words="" ;;
                --max-replicas) flags="" words="" ;;
                --worker) flags="" words="" ;;
                --worker-key) flags="" words="@files" ;;
                --admin-port) flags="" words="" ;;
                --admin-socket) flags="" words="@files" ;;
                --rollback-margin) flags="" words="" ;;
                --keys|--api-key-file) flags="" words="@files" ;;
                --usage) flags="" words="@files" ;;
                --new-key) flags="" words="" ;;
                --cors) flags="" words="" ;;
                --tls-cert) flags="" words="@files" ;;
                --tls-key) flags="" words="@files" ;;
                --log) flags="" words="@files" ;;
                --queue-requests) flags="" words="" ;;
                --queue-tokens) flags="" words="" ;;
                --long-prompt-tokens) flags="" words="" ;;
                --long-places) flags="" words="" ;;
                --drain-seconds) flags="" words="" ;;
                --prompt-seconds) flags="" words="" ;;
                --prompt-workers) flags="" words="" ;;
                --response-bytes) flags="" words="" ;;
                --response-seconds) flags="" words="" ;;
                --tool-form) flags="" words="" ;;
                --reasoning-format) flags="" words="auto none" ;;
                --tool) flags="" words="" ;;
                --tool-schema) flags="" words="" ;;
                --max-calls) flags="" words="" ;;
                --tool-timeout) flags="" words="" ;;
                --tool-output) flags="" words="" ;;
                --retrieve) flags="" words="" ;;
                --retrieve-by) flags="" words="words meaning both" ;;
                --retrieve-embed-url) flags="" words="" ;;
                --retrieve-embed-name) flags="" words="" ;;
                --retrieve-embed-key) flags="" words="@files" ;;
                --retrieve-key) flags="" words="@files" ;;
                --adapter|--adapters) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --draft) flags="" words="" ;;
                --draft-tokens) flags="" words="" ;;
                --cache-offload) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "retrieve")
            flags="-h --help" words="index query context eval"
            case "$previous" in
            esac
            ;;
        "retrieve index")
            flags="-o --out -t --tokenizer --chunk --overlap --field --embed --embed-url --embed-name --embed-key --device --add --delete --force --skip-bad --rejects -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --chunk) flags="" words="" ;;
                --overlap) flags="" words="" ;;
                --field) flags="" words="" ;;
                --embed) flags="" words="@files" ;;
                --embed-url) flags="" words="" ;;
                --embed-name) flags="" words="" ;;
                --embed-key) flags="" words="@files" ;;
                --device) flags="" words="" ;;
                --delete) flags="" words="" ;;
                --rejects) flags="" words="@files" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "retrieve query")
            flags="--jsonl -k --k --by --embed --embed-url --embed-name --embed-key --meaning-weight --index-key --index-timeout --rerank --candidates --device --k1 --b --field --json -o --out --force --skip-bad --rejects --unbuffered --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --jsonl) flags="" words="@files" ;;
                -k|--k) flags="" words="" ;;
                --by) flags="" words="words meaning both" ;;
                --embed) flags="" words="@files" ;;
                --embed-url) flags="" words="" ;;
                --embed-name) flags="" words="" ;;
                --embed-key) flags="" words="@files" ;;
                --meaning-weight) flags="" words="" ;;
                --index-key) flags="" words="@files" ;;
                --index-timeout) flags="" words="" ;;
                --rerank) flags="" words="@files" ;;
                --candidates) flags="" words="" ;;
                --device) flags="" words="" ;;
                --k1) flags="" words="" ;;
                --b) flags="" words="" ;;
                --field) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "retrieve context")
            flags="--jsonl -k --k --budget -t --tokenizer --in-order --template --messages --by --embed --embed-url --embed-name --embed-key --meaning-weight --index-key --index-timeout --rerank --candidates --device --k1 --b --field -o --out --force --skip-bad --rejects --unbuffered --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --jsonl) flags="" words="@files" ;;
                -k|--k) flags="" words="" ;;
                --budget) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --template) flags="" words="@files" ;;
                --by) flags="" words="words meaning both" ;;
                --embed) flags="" words="@files" ;;
                --embed-url) flags="" words="" ;;
                --embed-name) flags="" words="" ;;
                --embed-key) flags="" words="@files" ;;
                --meaning-weight) flags="" words="" ;;
                --index-key) flags="" words="@files" ;;
                --index-timeout) flags="" words="" ;;
                --rerank) flags="" words="@files" ;;
                --candidates) flags="" words="" ;;
                --device) flags="" words="" ;;
                --k1) flags="" words="" ;;
                --b) flags="" words="" ;;
                --field) flags="" words="" ;;
                -o|--out) flags="" words="@files" ;;
                --rejects) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "retrieve eval")
            flags="--index -k --k --relevant --min-recall --by --embed --embed-url --embed-name --embed-key --meaning-weight --index-key --index-timeout --rerank --candidates --device --k1 --b --field --per-record --force --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --index) flags="" words="@files" ;;
                -k|--k) flags="" words="" ;;
                --relevant) flags="" words="" ;;
                --min-recall) flags="" words="" ;;
                --by) flags="" words="words meaning both" ;;
                --embed) flags="" words="@files" ;;
                --embed-url) flags="" words="" ;;
                --embed-name) flags="" words="" ;;
                --embed-key) flags="" words="@files" ;;
                --meaning-weight) flags="" words="" ;;
                --index-key) flags="" words="@files" ;;
                --index-timeout) flags="" words="" ;;
                --rerank) flags="" words="@files" ;;
                --candidates) flags="" words="" ;;
                --device) flags="" words="" ;;
                --k1) flags="" words="" ;;
                --b) flags="" words="" ;;
                --field) flags="" words="" ;;
                --per-record) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval")
            flags="-h --help" words="tokens ppl kl mc gen needle score diff"
            case "$previous" in
            esac
            ;;
        "eval tokens")
            flags="-t --tokenizer --chat --top --generate --context --threshold --calibration --calibrate --confidence --bins --keep-accuracy --fail-above --baseline --view --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --batch --jsonl -n --dry-run --json --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -t|--tokenizer) flags="" words="@files" ;;
                --top) flags="" words="" ;;
                --generate) flags="" words="" ;;
                --context) flags="" words="" ;;
                --threshold) flags="" words="" ;;
                --calibration) flags="" words="@files" ;;
                --calibrate) flags="" words="@files" ;;
                --confidence) flags="" words="mean min product" ;;
                --bins) flags="" words="" ;;
                --keep-accuracy) flags="" words="" ;;
                --fail-above) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --view) flags="" words="auto text table" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval ppl")
            flags="-t --tokenizer --field --window --stride --like --max-tokens --per-record --fail-above --baseline --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --batch -n --dry-run --json --force --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -t|--tokenizer) flags="" words="@files" ;;
                --field) flags="" words="" ;;
                --window) flags="" words="" ;;
                --stride) flags="" words="" ;;
                --like) flags="" words="transformers llama.cpp" ;;
                --max-tokens) flags="" words="" ;;
                --per-record) flags="" words="@files" ;;
                --fail-above) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval kl")
            flags="-r --ref --reference -t --tokenizer --field --window --whole --max-chunks --per-record --fail-above --min-same-top --baseline --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads -n --dry-run --json --force --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -r|--ref|--reference) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --field) flags="" words="" ;;
                --window) flags="" words="" ;;
                --max-chunks) flags="" words="" ;;
                --per-record) flags="" words="@files" ;;
                --fail-above) flags="" words="" ;;
                --min-same-top) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval mc")
            flags="--form --shots --dev --by --limit --metric --min-accuracy --baseline --per-record -t --tokenizer --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --batch -n --dry-run --json --force --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --form) flags="" words="auto plain mmlu hellaswag arc truthfulqa lambada" ;;
                --shots) flags="" words="" ;;
                --dev) flags="" words="@files" ;;
                --by) flags="" words="" ;;
                --limit) flags="" words="" ;;
                --metric) flags="" words="acc acc_norm acc_bytes" ;;
                --min-accuracy) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --per-record) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval gen")
            flags="--form -m --match --extract --verify --verify-timeout --verify-jobs --shots --dev --samples --pass-at --limit --max-tokens --temperature --top-k --top-p --min-p --stop --chat --seed --min-accuracy --baseline --per-record -t --tokenizer --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --batch -n --dry-run --json --force --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --form) flags="" words="auto plain gsm8k humaneval" ;;
                -m|--match) flags="" words="exact normalized contains contains-all contains-any regex number gsm8k choice f1" ;;
                --extract) flags="" words="" ;;
                --verify) flags="" words="" ;;
                --verify-timeout) flags="" words="" ;;
                --verify-jobs) flags="" words="" ;;
                --shots) flags="" words="" ;;
                --dev) flags="" words="@files" ;;
                --samples) flags="" words="" ;;
                --pass-at) flags="" words="" ;;
                --limit) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --temperature) flags="" words="" ;;
                --top-k) flags="" words="" ;;
                --top-p) flags="" words="" ;;
                --min-p) flags="" words="" ;;
                --stop) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --min-accuracy) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --per-record) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval needle")
            flags="--tasks --lengths --depths --samples --haystack --needle --question --answer --values --words --max-tokens --chat --threshold --seed --svg --prompts --min-length --baseline --per-record -t --tokenizer --adapter --dtype --kv-dtype --rope-scaling --kernels --weights --device --threads --batch -n --dry-run --json --force --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --tasks) flags="" words="needle niah_single_1 niah_single_2 niah_single_3 niah_multikey_1 niah_multikey_2 niah_multikey_3 niah_multivalue niah_multiquery vt cwe fwe ruler" ;;
                --lengths) flags="" words="" ;;
                --depths) flags="" words="" ;;
                --samples) flags="" words="" ;;
                --haystack) flags="" words="@files" ;;
                --needle) flags="" words="" ;;
                --question) flags="" words="" ;;
                --answer) flags="" words="" ;;
                --values) flags="" words="words numbers uuids" ;;
                --words) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --threshold) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --svg) flags="" words="@files" ;;
                --prompts) flags="" words="@files" ;;
                --min-length) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --per-record) flags="" words="@files" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --kv-dtype) flags="" words="auto float32 bfloat16 int8" ;;
                --rope-scaling) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --weights) flags="" words="stored int8 int4" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval score")
            flags="-m --match --output-field --answer-field --answers --extract --which -i --ignore-case --by --min-score --min-accuracy --baseline --per-record --json --force --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -m|--match) flags="" words="exact normalized contains contains-all contains-any regex number gsm8k choice f1" ;;
                --output-field) flags="" words="" ;;
                --answer-field) flags="" words="" ;;
                --answers) flags="" words="@files" ;;
                --extract) flags="" words="" ;;
                --which) flags="" words="first last" ;;
                --by) flags="" words="" ;;
                --min-score|--min-accuracy) flags="" words="" ;;
                --baseline) flags="" words="@files" ;;
                --per-record) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "eval diff")
            flags="--metric --lower-is-better --higher-is-better --alpha --max-increase --common --seed --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --metric) flags="" words="" ;;
                --alpha) flags="" words="" ;;
                --max-increase) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "inspect-attention")
            flags="-m --model -p --prompt --tokens --record --field --max-tokens --probe --probe-tokens --seed --layers --heads --query --map --rows --cols --before-softmax --worked --lens --ablate --ablate-by --attribute --answer --diff --expect --edges --top-k -o --save --html --svg --png --adapter -t --tokenizer --dtype --rope-scaling --allow-special --device --threads --force --log-every --json --jsonl --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                -m|--model) flags="" words="@files" ;;
                -p|--prompt) flags="" words="" ;;
                --tokens) flags="" words="" ;;
                --record) flags="" words="" ;;
                --field) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --probe) flags="" words="induction" ;;
                --probe-tokens) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --layers) flags="" words="" ;;
                --heads) flags="" words="" ;;
                --query) flags="" words="" ;;
                --rows) flags="" words="" ;;
                --cols) flags="" words="" ;;
                --ablate) flags="" words="" ;;
                --ablate-by) flags="" words="zero mean" ;;
                --answer) flags="" words="" ;;
                --diff) flags="" words="@files" ;;
                --expect) flags="" words="" ;;
                --edges) flags="" words="@files" ;;
                --top-k) flags="" words="" ;;
                -o|--save) flags="" words="@files" ;;
                --html) flags="" words="@files" ;;
                --svg) flags="" words="@files" ;;
                --png) flags="" words="@files" ;;
                --adapter) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --dtype) flags="" words="auto float32 bfloat16 float16" ;;
                --rope-scaling) flags="" words="" ;;
                --device) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "kv-estimate")
            flags="--preset -c --context -b --batch --fit --memory --dtype --kv-dtype --tp --tensor-parallel --block-size --shared-prefix --window --no-window --prefill-chunk --layers --num-hidden-layers --heads --num-attention-heads --kv-heads --num-key-value-heads --head-dim --hidden-size --intermediate-size --vocab-size --tie-word-embeddings --no-tie-word-embeddings --solve --device --devices --measure --prompt --mfu --mbu --calibrate --price-per-hour --prices --utilisation --users --rate --concurrency --train --optimizer --precision --zero --dp --data-parallel --pp --pipeline-parallel --micro-batches --recompute --sequence-parallel --no-sequence-parallel --lora-rank --qlora --explain --plot --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --preset) flags="" words="tiny tiny-moe tiny-moe-free small small-moe medium base large xl nanogpt-cpu stories15m gpt2 gpt2-medium gpt2-large gpt2-xl smollm2-135m qwen3-0.6b tinyllama-1.1b llama-3.2-1b llama-2-7b llama-3.1-8b llama-3.1-70b mistral-7b-v0.3 qwen3-8b" ;;
                -c|--context) flags="" words="" ;;
                -b|--batch) flags="" words="" ;;
                --fit|--memory) flags="" words="" ;;
                --dtype) flags="" words="float32 bfloat16 float16 fp8 int8 int4 f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q6_k q2_k q2_k_s q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m iq1_s iq1_m iq2_xxs iq2_xs iq2_s iq2_m iq3_xxs iq3_xs iq3_s iq3_m iq4_xs iq4_nl tq1_0 tq2_0 mxfp4_moe q4_0-imatrix q5_0-imatrix iq4_xs-imatrix iq4_nl-imatrix gptq-4bit-g128 gptq-8bit-g128 awq-4bit-g128 w4a16-g128 w4a16-asym-g128 w8a16 w3a16-g32 mlx-4bit-g32 mlx-4bit-g64 mlx-8bit-g32 mlx-8bit-g64 w8a8 fp8-channel fp8-block128 nf4 nf4-plain bnb-int8 mxfp4 nvfp4" ;;
                --kv-dtype) flags="" words="float32 bfloat16 float16 fp8 int8 int4 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl int8-token fp8-token nvfp4 fp8_ds_mla mlx-2bit-g32 mlx-2bit-g64 mlx-2bit-g128 mlx-4bit-g32 mlx-4bit-g64 mlx-4bit-g128 mlx-8bit-g32 mlx-8bit-g64 mlx-8bit-g128" ;;
                --tp|--tensor-parallel) flags="" words="" ;;
                --block-size) flags="" words="" ;;
                --shared-prefix) flags="" words="" ;;
                --prefill-chunk) flags="" words="" ;;
                --layers|--num-hidden-layers) flags="" words="" ;;
                --heads|--num-attention-heads) flags="" words="" ;;
                --kv-heads|--num-key-value-heads) flags="" words="" ;;
                --head-dim) flags="" words="" ;;
                --hidden-size) flags="" words="" ;;
                --intermediate-size) flags="" words="" ;;
                --vocab-size) flags="" words="" ;;
                --solve) flags="" words="context batch quant parameters" ;;
                --device) flags="" words="h100 h200 a100-80 a100-40 l4 l40 l40s t4 a10 rtx3090 rtx4090 rtx5090 mi300x b300 m1 m1-pro m1-max m1-ultra m2 m2-pro m2-max m2-ultra m3 m3-pro m3-max m4 ddr5-5600-2ch ddr5-4800-12ch" ;;
                --devices) flags="" words="@files" ;;
                --prompt) flags="" words="" ;;
                --mfu) flags="" words="" ;;
                --mbu) flags="" words="" ;;
                --calibrate) flags="" words="@files" ;;
                --price-per-hour) flags="" words="" ;;
                --prices) flags="" words="@files" ;;
                --utilisation) flags="" words="" ;;
                --users) flags="" words="" ;;
                --rate) flags="" words="" ;;
                --concurrency) flags="" words="" ;;
                --optimizer) flags="" words="adamw adamw-8bit muon sgd-momentum" ;;
                --precision) flags="" words="bf16-master mixed16 fp32 bf16" ;;
                --zero) flags="" words="" ;;
                --dp|--data-parallel) flags="" words="" ;;
                --pp|--pipeline-parallel) flags="" words="" ;;
                --micro-batches) flags="" words="" ;;
                --recompute) flags="" words="none selective full" ;;
                --lora-rank) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench")
            flags="-h --help" words="prefill decode train load tokenize serve"
            case "$previous" in
            esac
            ;;
        "bench prefill")
            flags="--preset --prompt --depth --threads --dtype --weights --kernels --rounds --seed --against --format --baseline --fail-slower --require-quiet -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --preset) flags="" words="tiny tiny-moe tiny-moe-free small small-moe medium base large xl nanogpt-cpu stories15m gpt2 gpt2-medium gpt2-large gpt2-xl smollm2-135m qwen3-0.6b tinyllama-1.1b llama-3.2-1b llama-2-7b llama-3.1-8b llama-3.1-70b mistral-7b-v0.3 qwen3-8b" ;;
                --prompt) flags="" words="" ;;
                --depth) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --dtype) flags="" words="" ;;
                --weights) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --rounds) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --against) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench decode")
            flags="--preset --tokens --depth --batch --threads --dtype --weights --kernels --rounds --seed --against --format --baseline --fail-slower --require-quiet -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --preset) flags="" words="tiny tiny-moe tiny-moe-free small small-moe medium base large xl nanogpt-cpu stories15m gpt2 gpt2-medium gpt2-large gpt2-xl smollm2-135m qwen3-0.6b tinyllama-1.1b llama-3.2-1b llama-2-7b llama-3.1-8b llama-3.1-70b mistral-7b-v0.3 qwen3-8b" ;;
                --tokens) flags="" words="" ;;
                --depth) flags="" words="" ;;
                --batch) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --dtype) flags="" words="" ;;
                --weights) flags="" words="" ;;
                --kernels) flags="" words="auto native torch" ;;
                --rounds) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --against) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench train")
            flags="--preset --batch-rows --seq-len --threads --dtype --rounds --seed --against --format --baseline --fail-slower --require-quiet -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --preset) flags="" words="tiny tiny-moe tiny-moe-free small small-moe medium base large xl nanogpt-cpu stories15m gpt2 gpt2-medium gpt2-large gpt2-xl smollm2-135m qwen3-0.6b tinyllama-1.1b llama-3.2-1b llama-2-7b llama-3.1-8b llama-3.1-70b mistral-7b-v0.3 qwen3-8b" ;;
                --batch-rows) flags="" words="" ;;
                --seq-len) flags="" words="" ;;
                --threads) flags="" words="" ;;
                --dtype) flags="" words="" ;;
                --rounds) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --against) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench load")
            flags="--threads --dtype --rounds --against --format --baseline --fail-slower --require-quiet -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --threads) flags="" words="" ;;
                --dtype) flags="" words="" ;;
                --rounds) flags="" words="" ;;
                --against) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench tokenize")
            flags="-t --tokenizer --rounds --max-bytes --format --baseline --fail-slower --require-quiet -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                -t|--tokenizer) flags="" words="@files" ;;
                --rounds) flags="" words="" ;;
                --max-bytes) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "bench serve")
            flags="--url -m --model --api-key-file -c --concurrency --rate --requests --seconds --prompts --prompt-tokens --max-tokens --long-share --long-prompt-tokens --long-max-tokens --shared-tokens --chat --stream --no-stream --ignore-eos --no-ignore-eos --ttft-target --timeout --seed --format --baseline --fail-slower -n --dry-run --log-every --config --print-config -q --quiet -v --verbose --color -h --help" words=""
            case "$previous" in
                --url) flags="" words="" ;;
                -m|--model) flags="" words="" ;;
                --api-key-file) flags="" words="@files" ;;
                -c|--concurrency) flags="" words="" ;;
                --rate) flags="" words="" ;;
                --requests) flags="" words="" ;;
                --seconds) flags="" words="" ;;
                --prompts) flags="" words="@files" ;;
                --prompt-tokens) flags="" words="" ;;
                --max-tokens) flags="" words="" ;;
                --long-share) flags="" words="" ;;
                --long-prompt-tokens) flags="" words="" ;;
                --long-max-tokens) flags="" words="" ;;
                --shared-tokens) flags="" words="" ;;
                --ttft-target) flags="" words="" ;;
                --timeout) flags="" words="" ;;
                --seed) flags="" words="" ;;
                --format) flags="" words="md jsonl csv json" ;;
                --baseline) flags="" words="@files" ;;
                --fail-slower) flags="" words="" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "show")
            flags="--tensors --metadata --vocab --template --row --decode -t --tokenizer --embeddings --token --top --trace --verify --html --force --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --row) flags="" words="" ;;
                -t|--tokenizer) flags="" words="@files" ;;
                --token) flags="" words="" ;;
                --top) flags="" words="" ;;
                --trace) flags="" words="" ;;
                --html) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "diff")
            flags="--only --headers --tensors --atol --rtol --any-dtype --text --log-every --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --only) flags="" words="" ;;
                --tensors) flags="" words="" ;;
                --atol) flags="" words="" ;;
                --rtol) flags="" words="" ;;
                --text) flags="" words="@files" ;;
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "doctor")
            flags="--log-every --json --config --print-config -q --quiet -v --verbose --color -h --help" words="@files"
            case "$previous" in
                --log-every) flags="" words="" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "completion")
            flags="--config --print-config -q --quiet -v --verbose --color -h --help" words="bash zsh fish"
            case "$previous" in
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
            esac
            ;;
        "man")
            flags="--all -o --out --force --config --print-config -q --quiet -v --verbose --color -h --help" words="clean dedup mix train-tokenizer tokenize pack pretrain finetune merge quantize convert generate chat serve retrieve eval inspect-attention kv-estimate bench show diff doctor completion man"
            case "$previous" in
                -o|--out) flags="" words="@files" ;;
                --config) flags="" words="@files" ;;
                --color) flags="" words="auto always never" ;;
                retrieve) words="index query context eval" ;;
                eval) words="tokens ppl kl mc gen needle score diff" ;;
                bench) words="prefill decode train load tokenize serve" ;;
            esac
            ;;
    esac
    if [[ $current == -* && -n $flags ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
    elif [[ $words == "@files" ]]; then
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}

_llmkit_is_command() {
    case "$1" in
        "clean"|"dedup"|"mix"|"train-tokenizer"|"tokenize"|"pack"|"pretrain"|"finetune"|"merge"|"quantize"|"convert"|"generate"|"chat"|"serve"|"retrieve"|"retrieve index"|"retrieve query"|"retrieve context"|"retrieve eval"|"eval"|"eval tokens"|"eval ppl"|"eval kl"|"eval mc"|"eval gen"|"eval needle"|"eval score"|"eval diff"|"inspect-attention"|"kv-estimate"|"bench"|"bench prefill"|"bench decode"|"bench train"|"bench load"|"bench tokenize"|"bench serve"|"show"|"diff"|"doctor"|"completion"|"man") return 0 ;;
    esac
    return 1
}

complete -F _llmkit llmkit
