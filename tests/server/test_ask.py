"""How many texts a request comes to."""

from dataclasses import replace

from llmkit.engine.config import SamplingConfig
from llmkit.server.ask import Ask, ToolChoice


def test_answers_are_prompts_times_samples() -> None:
    sampling = SamplingConfig(samples=3)
    assert Ask(kind="text", model="m", sampling=sampling, texts=("a", "b")).num_answers == 6
    assert Ask(kind="text", model="m", sampling=sampling, ids=((1,),)).num_answers == 3
    assert Ask(kind="chat", model="m", sampling=sampling, messages=({"role": "user"},)).num_answers == 3


def test_tools_that_must_not_be_called_are_not_offered() -> None:
    tools = ({"type": "function", "function": {"name": "f"}},)
    ask = Ask(kind="chat", model="m", sampling=SamplingConfig(), messages=({"role": "user"},), tools=tools)
    assert ask.offered_tools == tools
    assert replace(ask, tool_choice=ToolChoice("none")).offered_tools == ()
