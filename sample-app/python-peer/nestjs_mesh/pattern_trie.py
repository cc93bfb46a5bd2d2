"""Event patterns with wildcards, found by walking a trie of their tokens: what a look-up costs depends on the patterns
that can still match, not on how many there are.

Tokens are separated by `.`; `*` is any one token, `>` or `**` any one or more at the end.
Source: the subjects of NATS, docs.nats.io, "Subject-Based Messaging"; `**` is what others write for `>`.
"""

from __future__ import annotations

from typing import Dict, Generic, List, Optional, TypeVar

T = TypeVar("T")
ANY = "*"
REST = (">", "**")


class _Node(Generic[T]):
    def __init__(self) -> None:
        self.literals: Dict[str, _Node[T]] = {}
        self.any: Optional[_Node[T]] = None
        #: Of patterns that end here, and of those that end here with the wildcard for the rest.
        self.here: List[T] = []
        self.rest: List[T] = []


class PatternTrie(Generic[T]):
    """Values by pattern."""

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: str, value: T) -> None:
        """Adds a value; a pattern may have several. ValueError for a wildcard of the rest that is not at the end."""
        tokens, node = _tokens(pattern), self._root
        for token in tokens[:-1]:
            if token in REST:
                raise ValueError(
                    f"the event pattern {pattern!r} can match nothing: {token!r} stands for the rest of a pattern, so "
                    "nothing may follow it; '*' stands for one token"
                )
        for token in tokens:
            if token in REST:
                node.rest.append(value)
                return
            if token == ANY:
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literals.setdefault(token, _Node())
        node.here.append(value)

    def match(self, name: str) -> List[T]:
        """The values of all patterns that match an event's name; exact tokens come before wildcards."""
        tokens, found = _tokens(name), []

        # A node is reached by one path only, so the walk is no longer than the trie is large, whatever the name.
        def walk(node: _Node[T], at: int) -> None:
            if at == len(tokens):
                found.extend(node.here)
                return
            literal = node.literals.get(tokens[at])
            if literal is not None:
                walk(literal, at + 1)
            if node.any is not None:
                walk(node.any, at + 1)
            found.extend(node.rest)

        walk(self._root, 0)
        return found


def matches(pattern: str, name: str) -> bool:
    """True when an event of this name is one of the pattern; never for a pattern that can match nothing."""
    wanted, tokens = _tokens(pattern), _tokens(name)
    for at, token in enumerate(wanted):
        if token in REST:
            return at == len(wanted) - 1 and at < len(tokens)
        if at >= len(tokens) or token not in (ANY, tokens[at]):
            return False
    return len(tokens) == len(wanted)


def _tokens(route: str) -> List[str]:
    """An object pattern is one token, whatever dots are in its JSON."""
    return [route] if route.startswith("{") else route.split(".")
