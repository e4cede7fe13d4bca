"""ChatML: the chat format of a tokenizer that is trained here.

<|im_start|>user
What is 2 + 2?<|im_end|>
<|im_start|>assistant
4<|im_end|>
"""

from llmkit.tokens.config import TURN_END, TURN_START


def chatml_template(*, bos: bool, turn_end: str = TURN_END) -> str:
    """The template, as jinja text.

    What the assistant wrote stands in a generation block: so fine-tuning knows which tokens to learn.

    Args:
        bos: begin with the bos token, as every text in pretraining does. Rendered chats are encoded without
            adding special tokens.
        turn_end: the token that ends a turn.
    """
    begin = "{{- bos_token }}" if bos else ""
    return (
        f"{begin}{{%- for message in messages %}}\n"
        f"    {{{{- '{TURN_START}' + message['role'] + '\\n' }}}}\n"
        f"    {{%- if message['role'] == 'assistant' %}}\n"
        f"        {{%- generation %}}{{{{- message['content'] + '{turn_end}' }}}}{{%- endgeneration %}}\n"
        f"    {{%- else %}}\n"
        f"        {{{{- message['content'] + '{turn_end}' }}}}\n"
        f"    {{%- endif %}}\n"
        f"    {{{{- '\\n' }}}}\n"
        f"{{%- endfor %}}\n"
        f"{{%- if add_generation_prompt %}}\n"
        f"    {{{{- '{TURN_START}assistant\\n' }}}}\n"
        f"{{%- endif %}}\n"
    )
