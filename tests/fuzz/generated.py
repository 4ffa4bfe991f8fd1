"""Generated inputs (hypothesis): JSON values of every kind, records of released rows, table cells, parameter trees."""

import json
from typing import Any

from hypothesis import strategies as st

from wethink.data.schema import RELEASED_KEYS

ANY_CHARACTER = st.characters(exclude_categories=())  # surrogates, controls and unassigned ones, too
TEXT = st.text(ANY_CHARACTER, max_size=40)
NUMBER = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**4299), 1e308, float("inf"), float("nan"), -0.0])
)
VALUE = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBER, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "problem": st.sampled_from(["which ? A red B blue", "how many ?", "<image> what (A) x (B) y", ""]),
    "answer": st.sampled_from(["A", "(b)", "3", "<answer>B</answer>", "red", ""]),
    "category": st.sampled_from(["MC", "FIB", "DES", "multiple choice", "riddle"]),
    "abilities": st.sampled_from([["a"], "a, b", [], ["\ud800"]]),
    "refined_cot": st.sampled_from(["seen", "<think>seen</think>", "<think> </think>", ""]),
    "image_path": st.sampled_from(["a.png", "photos/e\u0301.png", "\u00e9.png", "../a.png", "b\\c.png", "none.png"]),
    "reward": st.sampled_from(["rule", "model", "rule-based", "?"]),
}
RECORD = st.fixed_dictionaries(
    {}, optional={key: st.one_of(plausible, VALUE) for key, plausible in PLAUSIBLE.items()}
) | st.fixed_dictionaries(PLAUSIBLE)
assert set(PLAUSIBLE) == set(RELEASED_KEYS)


def _line(value: Any, ascii_only: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


LINE = st.builds(_line, st.one_of(RECORD, RECORD, VALUE), st.booleans()) | st.binary(max_size=30)
ROWS = st.lists(LINE, max_size=8).map(b"\n".join)
SCORED = st.fixed_dictionaries(
    {"gold": st.sampled_from(["3", "B", "1/2", "red", 3]) | VALUE},
    optional={key: st.sampled_from(["3", "(b)", "MC", "rule", ""]) | VALUE for key in
              ("answer", "response", "category", "reward", "problem", "row")},
)  # fmt: skip
SCORE_LINES = st.lists(st.builds(_line, SCORED, st.booleans()), max_size=4).map(b"\n".join)
CELL = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.sampled_from(["", "0", "1", "nan", "A", "['a', 'b']", "[", "aGVsbG8=", "a\tb", 'a"b', "a\nb", "a\rb", "\ufeff"]),
)
HEADER = st.lists(
    st.sampled_from(["index", "question", "answer", "image", "image_path", "A", "B", "Question", "hint", ""]),
    min_size=1, max_size=7,
)  # fmt: skip
REPLY = st.one_of(
    st.builds(_line, st.fixed_dictionaries({}, optional={k: VALUE for k in ("answer", "path", "tier", "questions")}),
              st.booleans()),
    st.builds(_line, VALUE, st.booleans()),
    st.lists(
        st.one_of(
            TEXT.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.sampled_from([b"<think>", b"</think>", b"<answer>", b"</answer>", b"```json\n", b"\n```",
                             b'{"answer": "3"}', b'{"tier": "correct"}', b"\\boxed{3}"]),
        ), max_size=9,
    ).map(b"".join),
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A table with a header of known columns, quoted in several ways."""
    header = draw(st.just(["index", "question", "answer", "image"]) | HEADER)
    rows = draw(st.lists(st.lists(CELL, min_size=len(header), max_size=len(header)) | st.lists(CELL), max_size=5))
    quoted = draw(st.booleans())

    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted or set('"\t\r\n') & set(text) else text

    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return end.join("\t".join(map(cell, row)) for row in [header, *rows]).encode()


def changed(tree: Any) -> st.SearchStrategy[Any]:
    """A parameter tree in which one value, anywhere, is another."""

    def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        found = [at] if at else []
        if isinstance(value, dict):
            for key in value:
                found += paths(value[key], (*at, key))
        return found

    def put(path: tuple[Any, ...], value: Any) -> Any:
        copy = json.loads(json.dumps(tree))
        inner = copy
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return copy

    return st.builds(put, st.sampled_from(paths(tree)), VALUE)
