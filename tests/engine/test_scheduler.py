"""The scheduler: its order, its promises, and any course of events and a memory that knows what it holds."""

import random
from collections import Counter
from collections.abc import Callable, Container
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block, BlockPool, Kept, chain_key, content_key, group_root, root_key
from llmkit.engine.config import SamplingConfig
from llmkit.engine.layer_groups import LayerGroups
from llmkit.engine.request import Request
from llmkit.engine.scheduler import Scheduler, Work
from llmkit.engine.text import Text
from llmkit.engine.text_memory import TextMemory
from llmkit.errors import ResourceError
from llmkit.model.window import ALL, Window

ONE = LayerGroups((0,), (0,), (ALL,))
MIXED = LayerGroups((0, 1, 2), (0, 0, 0), (ALL, Window(5), Window(5)), tile=2)
"""One layer that sees everything, and two that see five positions."""
SLIDING = LayerGroups((0,), (0,), (Window(4),), tile=3)


def make_text(
    number: int, prompt: list[int], room: int, *, key: str = "", priority: int = 0, groups: LayerGroups = ONE
) -> Text:
    """A text without a sampler: nothing is drawn here."""
    sampler: Any = None
    request = Request(tuple(prompt), SamplingConfig(max_tokens=room), priority=priority, key=key)
    tables = [BlockTable(group_root(root_key(key), group)) for group in range(groups.count)]
    return Text(number, request, sampler, room, list(prompt), tables=tables)


def make_scheduler(
    pool: BlockPool,
    block_tokens: int,
    *,
    max_texts: int,
    pass_tokens: int,
    reuse: bool = True,
    whole: bool = False,
    groups: LayerGroups = ONE,
) -> Scheduler:
    """A scheduler as the engine makes it."""
    pass_tokens = max(pass_tokens, max_texts)
    memory = TextMemory(pool, block_tokens, groups, pass_tokens=pass_tokens, reuse=reuse)
    return Scheduler(memory, max_texts=max_texts, pass_tokens=pass_tokens, whole=whole)


class Desk:
    """A scheduler with texts of our own drawing."""

    def __init__(self, blocks: int = 100, block_tokens: int = 4, **sizes: Any) -> None:
        self.pool = BlockPool(blocks)
        sizes = {"max_texts": 8, "pass_tokens": 64} | sizes
        self.scheduler = make_scheduler(self.pool, block_tokens, **sizes)
        self.count = 0

    def submit(self, prompt: list[int], room: int = 4, **owner: Any) -> Text:
        text = make_text(self.count, prompt, room, **owner)
        self.count += 1
        self.scheduler.submit(text)
        return text

    def step(self, token: Callable[[Text], int] = lambda text: 99) -> dict[int, int]:
        """One pass: which texts were in it, with how many tokens."""
        works = self.scheduler.plan()
        for work in works:
            known = len(work.text.tokens)
            if not work.completes:
                self.scheduler.commit(work, work.start + work.count)
                continue
            work.text.tokens.append(token(work.text))
            self.scheduler.commit(work, known)
            if work.text.drawn >= work.text.room:
                self.scheduler.finish(work.text)
        self.pool.check()
        return {work.text.number: work.count for work in works}

    def finish(self) -> list[dict[int, int]]:
        """Passes until every text is complete."""
        steps = []
        while self.scheduler.working or self.scheduler.waiting:
            steps.append(self.step())
            assert len(steps) < 10_000
        assert self.pool.num_free == self.pool.num_blocks
        return steps


def test_a_prompt_is_read_in_parts_and_then_a_token_at_a_time() -> None:
    desk = Desk(pass_tokens=5, max_texts=2)
    desk.submit([*range(12)], 3)
    assert [step[0] for step in desk.finish()] == [5, 5, 2, 1, 1]


def test_texts_that_write_come_first_and_new_ones_find_room_beside_one_that_reads() -> None:
    desk = Desk(pass_tokens=8, max_texts=3)
    desk.submit([1, 2, 3], 4)
    desk.submit([*range(10, 30)], 2)
    assert desk.step() == {0: 3, 1: 5}
    desk.submit([7], 2)
    assert desk.step() == {0: 1, 1: 6, 2: 1}
    assert desk.step() == {0: 1, 1: 6, 2: 1}
    assert desk.step() == {0: 1, 1: 3}


def test_no_more_texts_are_at_work_than_may_be() -> None:
    desk = Desk(max_texts=3)
    for number in range(7):
        desk.submit([number], 2)
    assert [set(step) for step in desk.finish()] == [
        *({0, 1, 2}, {0, 1, 2}, {3, 4, 5}, {3, 4, 5}, {6}, {6}),
    ]


def test_a_lower_priority_number_goes_first_and_keeps_its_memory() -> None:
    desk = Desk(blocks=4, max_texts=2)
    late = desk.submit([1, 2, 3], 12, priority=1)
    desk.step()
    urgent = desk.submit([11, 12, 13, 14, 15, 16], 6)
    steps = desk.finish()
    assert all(1 in step for step in steps[:6]) and 0 in steps[-1]
    assert late.restarts == 1 and urgent.restarts == 0


def test_a_text_that_can_never_fit_is_refused_with_both_numbers() -> None:
    desk = Desk(blocks=4)
    desk.submit([1], 16)
    with pytest.raises(ResourceError, match="17 positions, and the cache has 16"):
        desk.submit([1, 2], 16)
    assert len(desk.finish()) == 16


def test_where_memory_runs_out_the_youngest_starts_again_and_every_text_ends() -> None:
    desk = Desk(blocks=6, reuse=False)
    texts = [desk.submit([number], 12) for number in range(4)]
    steps = desk.finish()
    assert desk.scheduler.restarts == sum(text.restarts for text in texts) > 0
    assert texts[0].restarts == 0 and all(0 in step for step in steps[:12])
    assert all(text.drawn == 12 for text in texts)


def test_a_new_text_waits_for_the_memory_that_those_at_work_are_about_to_take() -> None:
    desk = Desk(blocks=10, pass_tokens=4, max_texts=4)
    desk.submit([*range(30)], 2)  # takes its 8 blocks one a pass
    desk.submit([*range(50, 62)], 2)
    assert [set(desk.step()) for _ in range(8)] == [{0}] * 8
    assert desk.scheduler.restarts == 0
    desk.finish()
    assert desk.scheduler.restarts == 0


def test_a_long_text_that_waits_for_memory_is_passed_by_short_ones_and_not_for_ever() -> None:
    desk = Desk(blocks=40, max_texts=8, pass_tokens=200)
    older = [desk.submit([*range(n, n + 44)], 12) for n in (0, 1000)]  # 14 blocks each in the end
    long = desk.submit([*range(2000, 2100)], 8)  # 27 blocks
    began: dict[int, int] = {}
    for number in range(120):  # a short one with each pass
        desk.submit([5000 + 100 * number, 7, 8], 4)
        for text in desk.step():
            began.setdefault(text, number)
        held = sum(-(-one.most_positions // 4) for one in desk.scheduler.working if one.number > long.number)
        assert long not in desk.scheduler.waiting or held <= 40 // 4
    ends = 12
    assert began[older[0].number] == began[older[1].number] == 0
    assert began[long.number + 1] == 0 and began[long.number + 5] < ends
    assert began[long.number] == ends


def test_texts_that_take_their_memory_whole_never_start_again() -> None:
    desk = Desk(blocks=6, reuse=False, whole=True)
    for number in range(4):
        desk.submit([number], 12)  # 3 blocks each
    steps = desk.finish()
    assert desk.scheduler.restarts == 0
    assert [set(step) for step in steps] == [{0, 1}] * 12 + [{2, 3}] * 12


def test_what_texts_have_in_common_is_computed_once_one_after_the_other_or_at_once() -> None:
    prompt = [*range(18)]
    desk = Desk()
    first = desk.submit(prompt, 2)
    desk.finish()
    second = desk.submit(prompt, 2)
    assert desk.step() == {1: 2}
    assert (first.from_cache, second.from_cache) == (0, 16)

    desk = Desk()
    for _ in range(4):
        desk.submit(prompt, 2)
    assert desk.step() == {0: 18}  # the others wait one pass for it
    assert desk.step() == {0: 1, 1: 2, 2: 2, 3: 2}
    assert [block.holders for block in desk.scheduler.working[0].table] == [3] * 4 + [1]
    desk.finish()

    desk = Desk(reuse=False)
    for _ in range(4):
        desk.submit(prompt, 2)
    assert desk.step() == {0: 18, 1: 18, 2: 18, 3: 10}


def test_a_text_does_not_wait_for_what_it_has_not_in_common() -> None:
    desk = Desk()
    for last in range(4):
        desk.submit([last, *range(10)], 2)
    assert desk.step() == {0: 11, 1: 11, 2: 11, 3: 11}


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    desk = Desk()
    for _ in range(2):
        desk.submit([*range(16)], 1)
        (step,) = desk.finish()
    assert step == {1: 4}  # all of the last block: it is written into


def test_what_one_owner_wrote_no_other_finds() -> None:
    prompt = [*range(18)]
    desk = Desk()
    found = []
    for owner in ("a", "b", "a", "", "b"):
        text = desk.submit(prompt, 2, key=owner)
        desk.finish()
        found.append(text.from_cache)
    assert found == [0, 0, 16, 0, 16]
    one, other = desk.submit(prompt, 2, key="c"), desk.submit(prompt, 2, key="d")
    assert desk.step() == {one.number: 18, other.number: 18}  # and no other waits for it


def test_each_owner_has_its_turn_however_much_another_asks_for() -> None:
    desk = Desk(max_texts=1)
    for number in range(20):
        desk.submit([number, 1, 1], 2, key="much")
    desk.step()
    desk.submit([50], 2, key="little")
    order = []
    while desk.scheduler.waiting:
        order += [number for number in desk.step() if number not in order]
    assert order.index(20) <= 2


def test_who_comes_late_has_no_credit_for_the_time_before() -> None:
    desk = Desk(max_texts=1)
    for number in range(10):
        desk.submit([number] * 9, 1, key="first")
    for _ in range(5):
        desk.step()
    for number in range(10):
        desk.submit([100 + number] * 9, 1, key="second")
    order = [next(iter(desk.step())) for _ in range(8)]
    assert sum(number >= 10 for number in order) in (4, 5)  # in turns, not all of its own first


def test_only_those_are_remembered_who_have_texts_or_had_more_than_their_turn() -> None:
    desk = Desk(max_texts=2)
    desk.submit([7] * 9, 300, key="stays")
    kept = []
    for number in range(60):
        desk.submit([number, 1, 1], 2, key=f"comes and goes {number}")
        for _ in range(5):
            desk.step()
        kept.append(len(desk.scheduler._served))
    assert max(kept) <= 3
    desk.finish()
    assert not desk.scheduler._served


def test_who_leaves_with_more_than_its_turn_and_comes_back_still_waits_for_the_others() -> None:
    desk = Desk(max_texts=1)
    desk.submit([1] * 40, 1, key="much")
    for number in range(10):
        desk.submit([number] * 4, 1, key="little")
    desk.step()  # all of the long one, which ends
    back = desk.submit([2] * 40, 1, key="much")
    order = [next(iter(desk.step())) for _ in range(9)]
    assert back.number not in order


def test_drafts_ride_behind_the_known_tokens_as_far_as_the_pass_has_room() -> None:
    desk = Desk(pass_tokens=6, max_texts=2)
    text = desk.submit([1, 2, 3], 12)
    desk.step()
    text.drafts = [4, 5, 6, 7, 8, 9, 10]
    (work,) = desk.scheduler.plan()
    assert (work.start, work.count, work.num_drafts, work.completes) == (3, 6, 5, True)
    text.tokens += [4, 5, 0]  # two were right
    text.drafts = []
    desk.scheduler.commit(work, 6)
    assert text.computed == 6 and len(text.table) == 3
    assert text.table[1].key is None  # its last places hold drafts that were wrong
    text.tokens += [1, 1]
    desk.scheduler.commit(Work(text, 6, 2, 0), 8)
    assert text.table[1].key == chain_key(chain_key(text.table.root, [1, 2, 3, 99]), [4, 5, 0, 1])


def test_giving_up_frees_memory_at_once_wherever_the_text_is() -> None:
    desk = Desk(max_texts=1)
    texts = [desk.submit([*range(9)], 5) for _ in range(2)]
    desk.step()
    assert desk.pool.num_free == 97
    for text in texts:
        desk.scheduler.finish(text)
    desk.scheduler.finish(texts[0])  # twice does no harm
    assert desk.pool.num_free == 100 and desk.step() == {}
    desk.pool.check()


Slot = tuple[bytes, tuple[int, ...]]
"""What a place in memory holds: whose, and every token up to it."""


class Shelf:
    """A tier with room for some blocks, which keeps the slots of the machine's memory."""

    def __init__(self, memory: dict[int, Slot], size: int, room: int) -> None:
        self.memory, self.size, self.room = memory, size, room
        self.held: dict[bytes, tuple[list[Slot], bytes]] = {}
        self.restored = 0

    def keep(self, block: Block) -> None:
        assert block.key is not None and not block.holders and block.key not in self.held
        places = range(block.index * self.size, (block.index + 1) * self.size)
        self.held[block.key] = [self.memory[place] for place in places], block.content
        if len(self.held) > self.room:
            del self.held[next(iter(self.held))]

    def has(self, key: bytes) -> bool:
        return key in self.held

    def find(self, key: bytes) -> Kept | None:
        if key not in self.held:
            return None
        slots, content = self.held.pop(key)
        return Kept(content, lambda block: self.write(slots, block))

    def write(self, slots: list[Slot], block: int) -> None:
        self.restored += 1
        for place, slot in enumerate(slots):
            self.memory[block * self.size + place] = slot

    def forget(self, key: bytes) -> None:
        self.held.pop(key, None)

    def clear(self) -> None:
        self.held.clear()

    def check(self, pool: Container[bytes]) -> None:
        assert not any(key in pool for key in self.held) and len(self.held) <= self.room


def test_what_had_to_leave_the_pool_is_found_in_a_tier_and_not_computed_again() -> None:
    desk = Desk(blocks=5)
    memory = {place: (b"", ()) for place in range(20)}
    shelf = Shelf(memory, 4, room=100)
    desk.pool.tiers.append(shelf)
    prompts = [[number] * 17 for number in range(3)]
    texts = []
    for prompt in prompts * 2:
        texts.append(desk.submit(prompt, 1))
        desk.finish()
    assert [text.from_cache for text in texts] == [0, 0, 0, 16, 16, 16] and shelf.restored == 12
    assert all(block.content[-16:] == bytes([2, 0, 0, 0]) * 4 for block in desk.pool.findable())


def test_a_text_that_waits_for_memory_gives_back_what_a_tier_brought_it() -> None:
    desk = Desk(blocks=6, max_texts=2)
    shelf = Shelf({place: (b"", ()) for place in range(24)}, 4, room=100)
    desk.pool.tiers.append(shelf)
    for number in range(3):
        desk.submit([number] * 17, 1)
        desk.finish()
    desk.submit([9] * 12, 8)
    desk.step()  # has 3 blocks of 6 and wants 2 more
    waits = desk.submit([0] * 17, 1)
    assert desk.step() == {3: 1} and len(waits.table) == 0
    desk.finish()
    assert waits.from_cache == 16


class AnyCourse(RuleBasedStateMachine):
    """Any order of submit, give up, pass and start again. Each place in memory knows what was put there."""

    size = 3

    @initialize(
        blocks=st.integers(3, 12),
        max_texts=st.integers(1, 4),
        pass_tokens=st.integers(1, 12),
        kind=st.sampled_from(["reuse", "shelf", "alone", "whole"]),
        groups=st.sampled_from([ONE, MIXED, SLIDING]),
        room=st.integers(1, 20),
    )
    def open(
        self, blocks: int, max_texts: int, pass_tokens: int, kind: str, groups: LayerGroups, room: int
    ) -> None:
        self.groups = ONE if kind == "whole" else groups
        blocks *= self.groups.count
        self.memory: dict[int, Slot] = {}
        self.shelf = Shelf(self.memory, self.size, room)
        self.pool = BlockPool(blocks, [self.shelf] if kind == "shelf" else [])
        self.limit = max(max_texts, pass_tokens)
        self.scheduler = make_scheduler(
            self.pool,
            self.size,
            groups=self.groups,
            max_texts=max_texts,
            pass_tokens=pass_tokens,
            reuse=kind in ("reuse", "shelf"),
            whole=kind == "whole",
        )
        self.kind = kind
        self.count = 0

    @property
    def texts(self) -> list[Text]:
        """Those that are not over."""
        return [*self.scheduler.working, *self.scheduler.waiting]

    @rule(choice=st.randoms(use_true_random=False), count=st.integers(1, 4), common=st.booleans())
    def submit(self, choice: random.Random, count: int, common: bool) -> None:
        """Some texts, which may begin alike."""
        for _ in range(count):
            length = choice.randint(1, 3 * self.pool.num_blocks // 2 // self.groups.count)
            prompt = [0 if common else choice.randint(0, 1) for _ in range(length)]
            key, priority = choice.choice(["", "", "a"]), choice.choice([0, 0, 1])
            owner = {"key": key, "priority": priority, "groups": self.groups}
            self.submit_one(make_text(self.count, prompt, choice.randint(1, 20), **owner))
            self.count += 1

    def submit_one(self, text: Text) -> None:
        most = self.groups.most_held(text.most_positions, self.size, self.limit)
        assert most <= -(-text.most_positions // self.size) * self.groups.count
        fits = most <= self.pool.num_blocks
        try:
            self.scheduler.submit(text)
        except ResourceError:
            assert not fits
        else:
            assert fits

    @precondition(lambda self: len(self.texts) > 2)
    @rule(choice=st.randoms(use_true_random=False))
    def give_up(self, choice: random.Random) -> None:
        text = choice.choice(self.texts)
        self.scheduler.finish(text)
        assert text not in self.texts and not any(map(len, text.tables))

    @precondition(lambda self: self.kind != "whole" and self.scheduler.working)
    @rule(choice=st.randoms(use_true_random=False))
    def start_again(self, choice: random.Random) -> None:
        self.scheduler.restart(choice.choice(self.scheduler.working))

    @rule()
    def forget(self) -> None:
        self.pool.clear()

    @rule(choice=st.randoms(use_true_random=False), passes=st.integers(1, 4))
    def step(self, choice: random.Random, passes: int) -> None:
        for _ in range(passes):
            self.run(choice)

    def run(self, choice: random.Random) -> None:
        """Plan, check the plan, write into memory, commit."""
        ranked = sorted(self.scheduler.working, key=lambda text: (text.request.priority, text.number))
        works = self.scheduler.plan()
        assert bool(works) == bool(self.texts)
        assert sum(work.count for work in works) <= self.limit
        assert all(work.count > 0 for work in works)
        assert len({work.text.number for work in works}) == len(works)
        assert {id(work.text) for work in works} <= {id(text) for text in self.scheduler.working}
        assert not ranked or works[0].text is ranked[0]  # the oldest always has its way
        for work in works:
            self.check_read(work)
        for work in works:
            self.write(work)
        for work in works:
            self.commit(work, choice)

    def check_read(self, work: Work) -> None:
        text = work.text
        assert work.start == text.computed
        for group, table in enumerate(text.tables):
            assert len(table) * self.size >= work.start + work.count
            for place in range(self.first_read(group, work.start), work.start):
                slot = table[place // self.size].index * self.size + place % self.size
                assert self.memory[slot] == (table.root, tuple(text.tokens[: place + 1]))

    def first_read(self, group: int, start: int) -> int:
        """Of what was computed, by who sees a window: no less than that, in whole tiles."""
        size = self.groups.windows[group].size
        if size is None:
            return 0
        first = max(0, start - size + 1)
        return first - first % self.groups.tile

    def write(self, work: Work) -> None:
        text = work.text
        everything = [*text.tokens, *text.drafts]
        for table in text.tables:
            for place in range(work.start, work.start + work.count):
                block = table[place // self.size]
                assert block.holders == 1 and block.key is None
                slot = table.root, tuple(everything[: place + 1])
                self.memory[block.index * self.size + place % self.size] = slot

    def commit(self, work: Work, choice: random.Random) -> None:
        text = work.text
        if not work.completes:
            self.scheduler.commit(work, work.start + work.count)
            return
        known, right = len(text.tokens), choice.randint(0, work.num_drafts)
        text.tokens += text.drafts[:right]
        text.tokens.append(choice.randint(0, 1) if right == work.num_drafts else 1 - text.drafts[right])
        text.drafts = []
        self.scheduler.commit(work, known + right)
        left = text.room - text.drawn
        assert left >= 0
        if not left or choice.random() < 0.01:
            self.scheduler.finish(text)
        else:
            text.drafts = [choice.randint(0, 1) for _ in range(choice.randint(0, min(5, left - 1)))]

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "pool"):
            return
        self.pool.check()
        held = Counter(block.index for text in self.texts for table in text.tables for block in table)
        assert all(block.holders == held[block.index] for block in self.pool.blocks)
        assert all(not any(map(len, text.tables)) for text in self.scheduler.waiting)
        for text in self.texts:
            for group, table in enumerate(text.tables):
                most = self.groups.held_in_pass(group, self.size, self.limit)
                assert most is None or table.num_held <= most
        assert self.kind != "whole" or self.scheduler.restarts == 0
        for key, block in self.pool._cached.items():
            last = block.index * self.size + self.size - 1
            owner, tokens = self.memory[last]
            expected = owner
            for begin in range(0, len(tokens), self.size):
                expected = chain_key(expected, tokens[begin : begin + self.size])
            assert key == expected == content_key(block.content) and len(tokens) % self.size == 0
            for place in range(self.size):
                begin = len(tokens) - self.size + place + 1
                assert self.memory[block.index * self.size + place] == (owner, tokens[:begin])
        for key, (slots, content) in self.shelf.held.items():
            owner, tokens = slots[-1]
            expected = owner
            for begin in range(0, len(tokens), self.size):
                expected = chain_key(expected, tokens[begin : begin + self.size])
            assert key == expected == content_key(content)

    def teardown(self) -> None:
        if not hasattr(self, "pool"):
            return
        choice = random.Random(0)
        for _ in range(3000):
            if not self.texts:
                break
            self.run(choice)
        assert not self.texts
        assert self.pool.num_free == self.pool.num_blocks
        self.pool.check()


TestAnyCourse = AnyCourse.TestCase
TestAnyCourse.settings = settings(
    max_examples=90,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
