"""The memory that texts hold: what each needs, finds, fills and lets go of.

A text has a table of blocks for each group of layers, see `layer_groups`. All grow together; those of layers
that see a window let go of what it has passed.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from llmkit.engine.block_table import BlockTable
from llmkit.engine.blocks import BlockPool, Key, chain_content, chain_key, group_root
from llmkit.engine.layer_groups import LayerGroups
from llmkit.engine.state_memory import StateMemory
from llmkit.engine.text import Text


class TextMemory:
    """Gives blocks of a pool to texts, and takes them back."""

    def __init__(
        self,
        pool: BlockPool,
        block_tokens: int,
        groups: LayerGroups,
        *,
        pass_tokens: int,
        reuse: bool,
        states: StateMemory | None = None,
    ) -> None:
        """
        Args:
            pool: the memory.
            block_tokens: positions of a block.
            groups: of the model's layers.
            pass_tokens: most tokens of a pass.
            reuse: whether texts share what they have in common.
            states: of texts, where layers of the model keep one.
        """
        self._states = states
        self.pool = pool
        self._size = block_tokens
        self._groups = groups
        self._whole = [group for group, window in enumerate(groups.windows) if window.size is None]
        self._windowed = [group for group in range(groups.count) if group not in self._whole]
        self._pass_tokens = pass_tokens
        self._reuse = reuse

    @property
    def positions(self) -> int:
        """Positions that a text may come to, in whole blocks."""
        total = self.pool.num_blocks

        def held(blocks: int) -> int:
            return self._groups.most_held(blocks * self._size, self._size, self._pass_tokens)

        return bisect_right(range(1, total + 1), total, key=held) * self._size

    def tables(self, root: Key) -> list[BlockTable]:
        """Of a text that has nothing yet. root: see `root_key`."""
        return [BlockTable(group_root(root, group)) for group in range(self._groups.count)]

    def most(self, text: Text) -> int:
        """Blocks that a text may come to hold."""
        return self._groups.most_held(text.most_positions, self._size, self._pass_tokens)

    def missing(self, text: Text, positions: int, *, spare: bool = False) -> int:
        """Blocks that a text lacks to come to so many positions, pass by pass.

        Args:
            text: whose.
            positions: of it.
            spare: one more in each group, to grow into, unless it has all that it may come to need.
        """
        total = 0
        for group, table in enumerate(text.tables):
            needed = self._held_on_the_way(text, group, positions)
            if spare:
                needed = min(needed + 1, self._held_on_the_way(text, group, text.most_positions))
            total += max(0, needed - table.num_held)
        return total

    def hold(self, text: Text, positions: int) -> bool:
        """Give a text the memory for so many positions; False, and nothing, where there is not enough."""
        count = self._blocks(positions) - len(text.table)  # tables are as long as each other
        if count * len(text.tables) > self.pool.num_free:
            return False
        if count > 0:
            for table in text.tables:
                held = table.extend(self.pool, count)
                assert held
        if self._states is not None and text.state is None:  # it begins again while it is at work
            text.state = self._states.take()
        return True

    def give_back(self, text: Text) -> None:
        """A text has nothing in memory any more."""
        for table in text.tables:
            self.pool.give_back([*table])
        if self._states is not None:
            self._states.give_back(text)
        text.forget()

    def find(self, text: Text) -> None:
        """Give a text what the cache has of it, but for its last token, which is computed always.

        Nothing is brought back from a tier before it is known how far all groups can be found.
        """
        count = (len(text.tokens) - 1) // self._size if self._reuse else 0
        count = self._windows_found(text, self._whole_found(text, count))
        if self._states is not None:
            count = self._begin_state(text, self._states, count)
        tables = [text.tables[group] for group in self._whole]
        wanted, count = count, self._windows_found(text, self._take(text, tables, 0, count))
        if self._states is not None and count < wanted:  # a tier's had no room, and the state is of all of it
            self.give_back(text)
            return
        for table in tables:
            self.pool.give_back(table.cut(count))
        for group in self._windowed:
            table, first = text.tables[group], self._first(group, count * self._size)
            table.begin_at(first)
            if self._take(text, [table], first, count) < count:  # a tier's had no room
                self.give_back(text)
                return
        text.computed = count * self._size

    def is_coming(self, text: Text, working: Iterable[Text]) -> bool:
        """Whether a text at work computes the block that this one needs next: waiting for it is cheaper."""
        size, number = self._size, text.computed // self._size
        if not self._reuse or (number + 1) * size >= len(text.tokens):
            return False
        if self._states is not None:
            return any(self._state_is_coming(text, other) for other in working)
        return any(
            other.computed < (number + 1) * size <= len(other.tokens)
            and self._key(other, other.table, number) == self._key(text, text.table, number)
            for other in working
        )

    def commit(self, text: Text, start: int, computed: int) -> None:
        """A pass is over: what is full can be found from now on, and what no layer looks back to is let go.

        Args:
            text: whose.
            start: its positions before the pass.
            computed: and after it, without those that do not stay.
        """
        text.computed = computed
        if self._reuse:
            for number in range(start // self._size, computed // self._size):
                for table in text.tables:
                    key = self._key(text, table, number)
                    parent = table.keys[number - 1] if number else table.root
                    self.pool.remember(table[number], key, chain_content(parent, self._ids(text, number)))
        if self._states is not None:
            if self._reuse:
                self._keep_state(text, self._states)
            self._states.go_back(text)
        for group in self._windowed:
            first = self._first(group, computed)
            if first > text.tables[group].gone:
                self._let_go(text, text.tables[group], first)

    def most_guesses(self, text: Text, count: int) -> int:
        """Of so many guesses at a text's next tokens as many as it can go back from; given ones are right."""
        if self._states is None or text.given:
            return count
        return min(count, self._states.num_earlier)

    def leave_states(self, text: Text, positions: Iterable[int]) -> None:
        """Have the next pass leave what a text goes back to, if it comes to so many positions only."""
        if self._states is not None and not text.given:
            self._states.leave(text, positions)

    def has_state(self, text: Text, position: int) -> bool:
        """Whether a text that was read can go back to a position, or stay there."""
        return self._states is None or position == text.computed or position in text.earlier

    @property
    def has_room_for_state(self) -> bool:
        """Whether one more text can begin."""
        return self._states is None or self._states.num_free > 0

    def until_stop(self, text: Text, count: int) -> int:
        """Of a text's next tokens as many, at most `count`, as no pass goes over."""
        ahead = [stop - text.computed for stop in text.state_stops if stop > text.computed]
        return min(count, *ahead) if ahead else count

    def _begin_state(self, text: Text, states: StateMemory, count: int) -> int:
        """Give a text a state; returns how many of the blocks that are found end where it was kept.

        The text keeps its own where its prompt ends, and where it and another were seen to part.
        """
        text.state = states.take()
        found = count
        while found and not states.has(self._key(text, text.table, found - 1)):
            found -= 1
        if found:
            states.go_on(self._key(text, text.table, found - 1), text.state)
        last = (len(text.tokens) - 1) // self._size
        stops = {number * self._size for number in (count, last) if number > found} if self._reuse else ()
        text.state_stops = frozenset(stops)
        return found

    def _keep_state(self, text: Text, states: StateMemory) -> None:
        """Keep the state at the end of a text's last full block, if there is one and it may be asked for."""
        end = text.computed // self._size * self._size
        slot = text.earlier.get(end, text.state if end == text.computed else None)
        is_stop = end in text.state_stops
        if slot is None or not end or not (is_stop or end > len(text.request.prompt)):
            return
        key = self._key(text, text.table, end // self._size - 1)
        replaced = None if is_stop else text.written_state
        states.keep(key, slot, instead_of=replaced, has_block=self.pool.has)
        if not is_stop:
            text.written_state = key

    def _state_is_coming(self, text: Text, other: Text) -> bool:
        """Whether another text will keep the state at a position that this one has yet to come to."""
        size = self._size
        return any(
            max(other.computed, text.computed) < stop < len(text.tokens)
            and self._key(other, other.table, stop // size - 1)
            == self._key(text, text.table, stop // size - 1)
            for stop in other.state_stops
        )

    def _let_go(self, text: Text, table: BlockTable, first: int) -> None:
        """Others may begin like a prompt, and go on from any of its windows: it stays to be found, and its
        beginning goes first when memory is needed. Nobody goes on in the midst of what was written."""
        prompt = -(-len(text.request.prompt) // self._size)
        self.pool.give_back(table.let_go(min(first, prompt))[::-1])
        self.pool.give_back(table.let_go(first), forget=True)

    def _whole_found(self, text: Text, count: int) -> int:
        """Of a text's first blocks as many, at most `count`, as the cache has for all layers that see all."""
        tables = [text.tables[group] for group in self._whole]
        for number in range(count):
            if not all(self.pool.has(self._key(text, table, number)) for table in tables):
                return number
        return count

    def _windows_found(self, text: Text, count: int) -> int:
        """Of a text's first blocks as many, at most `count`, that the cache has every window before their
        end."""
        while (missing := self._missing_in_windows(text, count)) is not None:
            count = missing
        return count

    def _missing_in_windows(self, text: Text, count: int) -> int | None:
        """A block that the cache lacks of a window before the end of so many; None where it has all."""
        for group in self._windowed:
            for number in reversed(range(self._first(group, count * self._size), count)):
                if not self.pool.has(self._key(text, text.tables[group], number)):
                    return number
        return None

    def _take(self, text: Text, tables: Sequence[BlockTable], first: int, count: int) -> int:
        """Put blocks from the first up to `count` into tables of a text that end before them; returns where
        they end in all of these: earlier where there is no room for what comes from a tier."""
        for number in range(first, count):
            for table in tables:
                block = self.pool.find(self._key(text, table, number), table.last)
                if block is None:
                    return number
                table.append(block)
        return count

    def _held_on_the_way(self, text: Text, group: int, positions: int) -> int:
        """Blocks that a group holds at most until so many positions of a text are computed."""
        blocks = self._blocks(positions) - self._first(group, text.computed)
        count = max(1, min(positions - text.computed, self._pass_tokens))
        return min(blocks, self._groups.held_in_pass(group, self._size, count) or blocks)

    def _first(self, group: int, position: int) -> int:
        """The first block that a group keeps, where `position` is the next to be computed."""
        return self._groups.first_kept(group, position) // self._size

    def _blocks(self, positions: int) -> int:
        return -(-positions // self._size)

    def _ids(self, text: Text, number: int) -> list[int]:
        return text.tokens[number * self._size : (number + 1) * self._size]

    def _key(self, text: Text, table: BlockTable, number: int) -> Key:
        """Of one of the text's blocks, all of whose tokens are known."""
        for missing in range(len(table.keys), number + 1):
            parent = table.keys[-1] if table.keys else table.root
            table.keys.append(chain_key(parent, self._ids(text, missing)))
        return table.keys[number]
