"""The order of a plan's steps."""

from __future__ import annotations

import heapq

from tahr.ops import state
from tahr.program.node import Node, Program


def order(program: Program) -> list[Node]:
    """The nodes in the order in which they run.

    It is depth first, so that what was computed last is used next and few values are alive at a time. A variable is
    written after everything that still uses its old value, where that is possible: it can then be changed in place.
    """
    nodes = list(program.nodes())
    position = {node: i for i, node in enumerate(nodes)}
    waiting = {node: len(set(_before(node))) for node in nodes}
    followers: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for source in set(_before(node)):
            followers[source].append(node)
    readers = _readers_before_writes(nodes)
    patience = {write: len(users) for write, users in readers.items()}
    frees: dict[Node, list[Node]] = {}
    for write, users in readers.items():
        for user in users:
            frees.setdefault(user, []).append(write)

    ready: list[tuple[int, Node]] = []
    held: dict[Node, None] = {}  # ready, but for readers of the old value
    result: list[Node] = []

    def release(node: Node) -> None:
        if patience.get(node, 0) > 0:
            held[node] = None
        else:
            heapq.heappush(ready, (position[node], node))

    for node in nodes:
        if not waiting[node]:
            release(node)
    while len(result) < len(nodes):
        if not ready:
            # Readers of the old value depend on the write itself: it goes first, and leaves them the old array.
            node = next(iter(held))
            del held[node]
        else:
            _, node = heapq.heappop(ready)
        result.append(node)
        for follower in followers[node]:
            waiting[follower] -= 1
            if not waiting[follower]:
                release(follower)
        for write in frees.get(node, ()):
            patience[write] -= 1
            if not patience[write] and write in held:
                del held[write]
                heapq.heappush(ready, (position[write], write))
    return result


def _before(node: Node) -> list[Node]:
    return [*(v.node for v in node.inputs), *node.tokens]


def _readers_before_writes(nodes: list[Node]) -> dict[Node, set[Node]]:
    """For each write the nodes that use a value read before it."""
    users: dict[Node, set[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            if value.node.opdef is state.ReadCell:
                users.setdefault(value.node, set()).add(node)
    return {
        node: set[Node]().union(
            *(users.get(t, set[Node]()) for t in node.tokens if t.opdef is state.ReadCell)
        )
        - {node}
        for node in nodes
        if any(t.opdef is state.ReadCell for t in node.tokens)
    }
