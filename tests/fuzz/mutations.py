"""Turns a valid file into one that is almost valid: changes of its structure, then of its bytes.

An edit is (operation, place, other place, value); places count modulo what there is, so that every edit
applies to every file and hypothesis can make both smaller.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import strategies as st

TWIN = "\u00a7twin"  # a key that is written as if it were the one before the mark: a duplicate

# ruff: noqa: E501
VALUES = (
    None, True, False, "", " ", "no", "312e12", "1e-3", "1:30", "NaN", "6h", "-6h", "1e999s", "0B", "9999999TB",
    "unlimited", "never", "0.5", "~", "=", "<<", "always", "trace", "manifest", "../../../etc/passwd",
    "/etc/hostname", "/dev/zero", "/proc/self/environ", ".", "..", "~/.bashrc", "a" * 3000, "x\n- y", "\u202efdp",
    "[red]x[/red]", "\x1b[31mred", "<script>alert(1)</script>", "{{7*7}}", "$\\frac{", "%s%n", "\ud800", "\u2028",
    float("nan"), float("inf"), float("-inf"), -1, 0, 1, 2, 3, -0.0, 0.1, 1e-308, 1e308, 5e-324, 2**31, 2**53 + 1,
    2**63 - 1, 2**63, -(2**63), 10**30, 10**400, [], {}, [[]], {"": ""}, [None], [1, "a"], {"a": {"b": [1]}},
)  # fmt: skip
TREE = (
    "set",
    "set",
    "set",
    "delete",
    "rename",
    "twin",
    "copy",
    "wrap",
    "list",
    "text",
    "negate",
    "huge",
    "deep",
)
BYTES = ("cut", "flip", "nul", "drop", "twice", "crlf", "bom", "utf16", "latin", "junk", "empty", "tabs")


def edits(operations: tuple[str, ...], most: int = 3) -> st.SearchStrategy[list[tuple[str, int, int, int]]]:
    """A few edits, of which at least one."""
    place = st.integers(0, 2**16)
    one = st.tuples(st.sampled_from(operations), place, place, st.integers(0, len(VALUES) - 1))
    return st.lists(one, min_size=1, max_size=most)


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    found: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        at = todo.pop()
        items = at.items() if isinstance(at, dict) else enumerate(at) if isinstance(at, list) else ()
        for key, value in items:
            found.append((at, key))
            todo.append(value)
    return found


def changed(tree: Any, asked: list[tuple[str, int, int, int]]) -> Any:
    """A tree with some edits made."""
    box = [copy.deepcopy(tree)]
    for operation, first, second, which in asked:
        sites = places(box)
        at, key = sites[first % len(sites)]
        other, name = sites[second % len(sites)]
        value = copy.deepcopy(VALUES[which])
        old = at[key]
        number = old if isinstance(old, (int, float)) and not isinstance(old, bool) else 1
        if operation == "set":
            at[key] = value
        elif operation == "delete" and at is not box:
            del at[key]
        elif operation == "rename" and isinstance(at, dict):
            at[str(value)] = at.pop(key)
        elif operation == "twin" and isinstance(at, dict):
            at[f"{key}{TWIN}"] = old
        elif operation == "copy":
            at[key] = copy.deepcopy(other[name])
        elif operation == "wrap":
            at[key] = {str(name): old}
        elif operation == "list":
            at[key] = [old, copy.deepcopy(old)]
        elif operation == "text":
            at[key] = str(old)
        elif operation == "negate":
            at[key] = -number
        elif operation == "huge":
            at[key] = number * 10**30
        elif operation == "deep":
            for _ in range(60):
                at[key] = [at[key]]
    return box[0]


def as_json(tree: Any) -> bytes:
    """A tree as JSON, twins as equal keys; half characters stay escapes."""
    return json.dumps(tree).replace(json.dumps(TWIN)[1:-1], "").encode("utf-8")


def as_yaml(tree: Any) -> bytes:
    """A tree as YAML: JSON but for the words of numbers that are none."""
    return as_json(tree).replace(b"NaN", b".nan").replace(b"Infinity", b".inf")


def as_table(tree: Any, cell: str) -> bytes:
    """Rows of cells as text, with nothing estimated."""
    rows = tree if isinstance(tree, list) else [tree]
    lines = [
        cell.join("" if c is None else str(c) for c in (row if isinstance(row, list) else [row]))
        for row in rows
    ]
    return "\n".join(lines).replace(TWIN, "").encode("utf-8", "surrogatepass")


def damaged(content: bytes, asked: list[tuple[str, int, int, int]]) -> bytes:
    """Bytes with some edits made."""
    raw = bytearray(content)
    for operation, first, second, which in asked:
        size = len(raw) or 1
        at, length = first % size, second % 64 + 1
        if operation == "cut":
            del raw[at:]
        elif operation == "flip" and raw:
            raw[at] ^= 1 << (second % 8)
        elif operation == "nul":
            raw[at:at] = b"\0" * (length % 4 + 1)
        elif operation == "drop":
            del raw[at : at + length]
        elif operation == "twice":
            raw[at:at] = raw[at : at + length]
        elif operation == "crlf":
            raw = raw.replace(b"\n", b"\r\n")
        elif operation == "bom":
            raw[:0] = b"\xef\xbb\xbf"
        elif operation == "utf16":
            raw = bytearray(raw.decode("utf-8", "replace").encode("utf-16"))
        elif operation == "latin":
            raw[at:at] = b"\xe8\xff"
        elif operation == "junk":
            raw[at : at + length] = str(VALUES[which]).encode("utf-8", "surrogatepass")
        elif operation == "empty":
            raw.clear()
        elif operation == "tabs":
            raw = raw.replace(b"  ", b"\t")
    return bytes(raw)
