"""Blocks: taken, shared, found again, and forgotten in the right order."""

import hashlib

import pytest

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import Block, BlockPool, chain_content, chain_key, content_key, root_key


def _take(pool: BlockPool, count: int) -> list[Block]:
    table = BlockTable()
    assert table.extend(pool, count)
    return [*table]


def _fill(pool: BlockPool, blocks: list[Block], name: bytes) -> list[bytes]:
    keys = [name + bytes([number]) for number in range(len(blocks))]
    for block, key in zip(blocks, keys, strict=True):
        pool.remember(block, key)
    return keys


def test_every_block_can_be_taken_once_and_then_there_is_none() -> None:
    pool = BlockPool(5)
    taken = _take(pool, 5)
    assert sorted(block.index for block in taken) == list(range(5))
    assert pool.take() is None and pool.num_free == 0
    pool.check()
    pool.give_back(taken)
    assert pool.num_free == pool.num_blocks == 5
    pool.check()


def test_the_blocks_of_a_text_lie_side_by_side_even_after_others_came_and_went() -> None:
    pool = BlockPool(12)
    first, second = _take(pool, 4), _take(pool, 4)
    assert [block.index for block in (*first, *second)] == list(range(8))
    pool.give_back(first)
    pool.give_back(second)
    assert [block.index for block in _take(pool, 4)] in ([0, 1, 2, 3], [4, 5, 6, 7])
    pool.check()


def test_what_was_filled_is_found_held_or_free_and_nothing_else() -> None:
    pool = BlockPool(4)
    blocks = _take(pool, 2)
    first, second = _fill(pool, blocks, b"x")
    assert pool.find(first) is blocks[0] and blocks[0].holders == 2
    pool.give_back([blocks[0]])
    pool.give_back(blocks)
    assert pool.num_free == 4
    assert pool.find(second) is blocks[1] and blocks[1].holders == 1 and pool.num_free == 3
    assert pool.find(b"y") is None
    pool.check()


def test_of_two_blocks_with_one_content_the_first_is_found_and_the_other_is_free_to_use() -> None:
    pool = BlockPool(3)
    one, other = _take(pool, 2)
    pool.remember(one, b"same")
    pool.remember(other, b"same")
    assert other.key is None
    pool.give_back([one, other])
    assert pool.find(b"same") is one
    pool.check()


def test_what_is_taken_again_is_forgotten_and_what_is_free_and_empty_goes_first() -> None:
    pool = BlockPool(6)
    old, new = _take(pool, 2), _take(pool, 2)
    old_keys, new_keys = _fill(pool, old, b"old"), _fill(pool, new, b"new")
    pool.give_back(old)
    pool.give_back(new)
    _take(pool, 2)  # the two that were never used
    assert all(key in pool._cached for key in (*old_keys, *new_keys))
    forgotten = []
    for _ in range(4):
        pool.take()
        known = forgotten + [key for key in (*old_keys, *new_keys) if key in pool._cached]
        forgotten += [key for key in (*old_keys, *new_keys) if key not in known]
        pool.check()
    # the text unused for longest, its end before its beginning
    assert forgotten == [old_keys[1], old_keys[0], new_keys[1], new_keys[0]]


def test_what_is_found_again_counts_as_used_now() -> None:
    pool = BlockPool(3)
    blocks = _take(pool, 3)
    keys = _fill(pool, blocks, b"x")
    for block in blocks:
        pool.give_back([block])
    again = pool.find(keys[0])
    assert again is not None
    pool.give_back([again])
    pool.take(), pool.take()
    assert [key in pool._cached for key in keys] == [True, False, False]


def test_what_a_key_is_made_of_stays_as_long_as_its_block_can_be_found() -> None:
    pool = BlockPool(2)
    one, other = _take(pool, 2)
    pool.remember(one, b"key", b"what it is made of")
    pool.remember(other, b"key", b"something else")
    assert [block.content for block in pool.findable()] == [b"what it is made of"] and other.content == b""
    pool.give_back([one, other])
    _take(pool, 2)
    assert not [*pool.findable()] and one.content == b""


def test_clear_forgets_what_is_free_and_keeps_what_is_held() -> None:
    pool = BlockPool(3)
    held, free = _take(pool, 2)
    pool.remember(held, b"held")
    pool.remember(free, b"free")
    pool.give_back([free])
    pool.clear()
    assert pool.find(b"free") is None and pool.find(b"held") is held
    pool.check()


@pytest.mark.parametrize("spoil", ["holders", "key", "count"])
def test_check_finds_what_is_wrong(spoil: str) -> None:
    pool = BlockPool(3)
    (block,) = _take(pool, 1)
    pool.remember(block, b"x")
    pool.check()
    if spoil == "holders":
        block.holders = 0
    elif spoil == "key":
        block.key = b"y"
    else:
        pool.num_free += 1
    with pytest.raises(AssertionError):
        pool.check()


def test_keys_are_a_chain_of_digests_from_an_owners_root() -> None:
    root = root_key("tenant")
    first = chain_key(root, [1, 258])
    assert first == hashlib.blake2b(root + b"\1\0\0\0\2\1\0\0", digest_size=16).digest()
    assert chain_content(root, [1, 258]) == root + b"\1\0\0\0\2\1\0\0"
    assert content_key(chain_content(root, [1, 258])) == first
    assert chain_key(first, [3]) != chain_key(root, [3])
    assert chain_key(root, [1, 2]) != chain_key(root, [2, 1]) != chain_key(root_key("other"), [2, 1])


def test_no_two_owners_have_one_root_and_no_owner_has_the_digest_of_a_content() -> None:
    names = [(), ("",), ("", ""), ("ab", "c"), ("a", "bc"), ("abc",), ("\udcff",)]
    assert len({root_key(*parts) for parts in names}) == len(names)
    content = chain_key(root_key("a"), [66])
    as_name = content.decode("latin1")
    assert chain_key(root_key(as_name), [7]) != chain_key(content, [7])
    assert all(len(root_key(*parts)) == len(content) for parts in names)
