"""What llama.cpp, Ollama, mlx-lm, vLLM, transformers, OpenAI and nanochat call settings that have other names
here, as flags and as keys of rows; and what they and litgpt call commands.

Where a word is alike enough, as repeat_penalty is, the nearest name is found without this table.
"""

from collections.abc import Collection

from llmkit.errors import nearest

ELSEWHERE: dict[str, str] = {
    "max_tokens": "n_predict predict num_predict max_new_tokens max_gen_toks n_tokens max_completion_tokens",
    "temperature": "temp do_sample",
    "samples": "num_return_sequences",
    "repetition_penalty": "repeat_penalty",
    "typical_p": "typ_p",
    "logprobs": "n_probs",
    "json_schema": "guided_json response_format",
    "regex": "guided_regex",
    "choice": "guided_choice",
    "grammar": "guided_grammar",
    "stop_ids": "stop_token_ids",
    "mirostat_eta": "mirostat_lr",
    "mirostat_tau": "mirostat_ent",
    "stop": "reverse_prompt eos_token extra_eos_token",
    "chat": "conversation",
    "chat_template_kwargs": "think no_think reasoning reasoning_budget hide_thinking",
    "context": "ctx_size ctx max_kv_size max_model_len context_length",
    "seq_len": "ctx_size ctx max_model_len context_length max_length block_size",
    "device": "n_gpu_layers gpu_layers main_gpu",
    "adapter": "lora lora_scaled adapter_path lora_modules",
    "draft": "model_draft draft_model",
    "draft_tokens": "draft_max num_speculative_tokens",
    "kv_dtype": "cache_type_k cache_type_v kv_bits kv_cache_dtype",
    "weights": "load_in_4bit load_in_8bit quantize quantization",
    "tp": "tensor_parallel_size tensor_parallel",
    "replicas": "data_parallel_size",
    "batch": "parallel max_num_seqs",
    "name": "alias served_model_name",
    "tool_form": "tool_call_parser",
    "text": "prompt",
    "tokenizer": "model",
    "type": "model model_type outtype",
    "special": "special_tokens user_defined_symbols",
    "boundary": "append_eod",
    "similarity": "threshold jaccard",
    "hashes": "num_perm num_hashes",
    "bands": "num_buckets",
    "field": "column text_column text_key text_field",
    "rules": "filters",
    "source": "weight weights",
    "total": "num_samples",
    "head": "output_tensor_type",
    "lr": "learning_rate",
    "qlora": "load_in_4bit",
    "steps": "iters num_iterations max_steps max_iters",
    "micro_batch_rows": "per_device_train_batch_size device_batch_size gradient_accumulation_steps",
    "batch_rows": "global_batch_size train_batch_size",
    "checkpoint_every": "save_every save_steps steps_per_save",
    "eval_every": "eval_steps steps_per_eval",
    "activation_checkpointing": "grad_checkpoint gradient_checkpointing",
    "num_hidden_layers": "depth n_layer",
    "out": "o output outfile save_path model_prefix adapter_path checkpoint_dir",
}
"""What a setting is called here, and elsewhere. A name may mean one here and another there."""
_NOTHING = {
    "interactive",
    "jinja",
    "mask_prompt",
    "num_beams",
    "single_turn",
    "stdin",
    "stream",
    "trust_remote_code",
}
"""What needs no flag, or is not done: the nearest name would be about something else."""
COMMANDS_ELSEWHERE: dict[str, str] = {
    "clean": "filter",
    "dedup": "deduplicate minhash",
    "train-tokenizer": "tok-train tokenizer",
    "tokenize": "count encode decode llama-tokenize",
    "pretrain": "base-train train",
    "finetune": "sft lora qlora dpo grpo fine-tune finetune-lora finetune-full chat-sft chat-rl tune",
    "merge": "fuse merge-lora llama-export-lora",
    "quantize": "imatrix llama-quantize llama-imatrix",
    "convert": "gguf convert-hf-to-gguf convert-lora-to-gguf llama-gguf-split",
    "generate": "run complete sample infer cli llama-cli llama-completion run-batch",
    "chat": "chat-cli conversation",
    "serve": "api server chat-web llama-server",
    "retrieve index": "rag index embed llama-embedding",
    "retrieve query": "search query rerank",
    "eval": "evaluate lm-eval base-eval chat-eval",
    "eval tokens": "logprobs",
    "eval ppl": "ppl perplexity llama-perplexity",
    "eval kl": "kl kl-divergence",
    "eval mc": "mc mmlu",
    "eval needle": "needle niah ruler",
    "kv-estimate": "estimate memory size vram cost gguf-parser",
    "bench": "benchmark llama-bench",
    "show": "info list ls gguf-dump",
    "doctor": "check",
}
"""What a command is called here, and elsewhere or for short; the words of a group stand with the group."""
_NO_COMMANDS = {
    "help": "llmkit --help, or llmkit COMMAND --help",
    "version": "llmkit --version",
    **dict.fromkeys(
        ("download", "pull"), "llmkit downloads nothing: hf download OWNER/MODEL --local-dir FOLDER"
    ),
}
"""What other programs have a command for, and what does the same beside llmkit."""


def name_here(word: str, known: Collection[str]) -> str | None:
    """What a setting of another program is called here; None where it is none of `known`."""
    return next(
        (name for name, others in ELSEWHERE.items() if name in known and word in others.split()), None
    )


def meant(word: str, known: Collection[str]) -> str | None:
    """The setting that a word probably means; None where none is alike.

    Args:
        word: a setting that is not known, as it would stand in a file: `max_new_tokens`.
        known: settings that are.
    """
    if word in known:  # an argument, which has no flag
        return word
    return name_here(word, known) or (None if word in _NOTHING else nearest(word, known))


def command_hint(word: str, path: str, known: Collection[str]) -> str | None:
    """What to type in place of a command that is not there; None where nothing is alike.

    Args:
        word: what was typed: `perplexity`.
        path: the group that has no such command: `llmkit`, or `llmkit eval`.
        known: the commands that it has.
    """
    plain = word.lower().replace("_", "-").removesuffix(".py").removeprefix("mlx-lm.")
    if path == "llmkit" and plain in _NO_COMMANDS:
        return _NO_COMMANDS[plain]
    elsewhere = ((f"llmkit {name}", others) for name, others in COMMANDS_ELSEWHERE.items())
    full = next((name for name, others in elsewhere if plain in others.split()), "")
    found = full.removeprefix(f"{path} ") if full.startswith(f"{path} ") else None
    begun = [name for name in known if plain and name.startswith(plain)]
    found = found or (begun[0] if len(begun) == 1 else nearest(plain, known))
    return f"did you mean {path} {found}?" if found else None
