"""Lines of JSON as tools write them: each is a record or a fault with its place, and nothing is a traceback."""

import json
from pathlib import Path

import pytest

from wethink.common.errors import UserError
from wethink.common.jsonl import NO_OBJECT, NOT_JSON, dumps, json_lines, read_json, read_jsonl, write_jsonl

TWO = '{"a": "é", "n": 1}\n{"a": "Ω", "n": 2}\n'
ENCODINGS = {
    "UTF-8": TWO.encode(),
    "UTF-8 with a mark": TWO.encode("utf-8-sig"),
    "UTF-16 with a mark": TWO.encode("utf-16"),
    "UTF-16, big-endian, with a mark": b"\xfe\xff" + TWO.encode("utf-16-be"),
    "UTF-16, big-endian": TWO.encode("utf-16-be"),
    "UTF-16, little-endian": TWO.encode("utf-16-le"),
    "UTF-32 with a mark": TWO.encode("utf-32"),
    "CRLF": TWO.replace("\n", "\r\n").encode(),
    "CR": TWO.replace("\n", "\r").encode(),
    "UTF-16 with a mark and CRLF": TWO.replace("\n", "\r\n").encode("utf-16"),
    "no line end": TWO.rstrip("\n").encode(),
    "blank lines": TWO.replace("\n", "\n \t \n\n").encode(),
    "two files with marks, one behind the other": "".join(f"\ufeff{line}\n" for line in TWO.splitlines()).encode(),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_every_encoding_and_line_end_gives_the_same_records(kind: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(ENCODINGS[kind])
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [{"a": "é", "n": 1}, {"a": "Ω", "n": 2}]


FAULTS = {
    "5,000 digits": (b'{"n": 1' + b"0" * 5000 + b"}", NOT_JSON, "too many digits"),
    "a float out of range": (b'{"n": -1e400}', NOT_JSON, "-1e400 is out of range"),
    "a long float out of range": (b'{"n": 1' + b"0" * 400 + b".5}", NOT_JSON, "out of range"),
    "NaN": (b'{"n": NaN}', NOT_JSON, "NaN is no JSON number"),
    "Infinity": (b'{"n": [-Infinity]}', NOT_JSON, "-Infinity is no JSON number"),
    "deep lists": (b'{"n": ' + b"[" * 150 + b"]" * 150 + b"}", NOT_JSON, "nested over 100 levels"),
    "very deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, NOT_JSON, "nested over 100 levels"),
    "deep and never closed": (b"[" * 100_000, NOT_JSON, "nested over 100 levels"),
    "a key twice": (b'{"n": 1, "n": 2}', "a key occurs twice", "'n' occurs twice"),
    "a key twice inside": (b'{"m": {"n": "a", "n": null}}', "a key occurs twice", "'n' occurs twice"),
    "Latin-1": ('{"n": "é"}'.encode("latin-1"), NOT_JSON, "another encoding"),
    "half a character": (b'{"n": "\xf0\x9f\x98"}', NOT_JSON, "another encoding"),
    "zero bytes": (b"\0" * 64, NOT_JSON, ""),
    "a list": (b'[{"n": 1}]', NO_OBJECT, "write each element on a line"),
    "a text": (b'"n"', NO_OBJECT, "found str"),
    "single quotes": (b"{'n': 1}", NOT_JSON, "at character 2"),
    "a comment": (b'{"n": 1} // one', NOT_JSON, "Extra data"),
    "two on a line": (b'{"n": 1}{"n": 2}', NOT_JSON, "Extra data"),
    "a raw tab in a text": (b'{"n": "\t"}', NOT_JSON, "control character"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_faulty_line_costs_no_other_and_names_its_place(kind: str, tmp_path: Path) -> None:
    data, fault, detail = FAULTS[kind]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n' + data + b'\n{"a": 2}\n')
    lines = list(json_lines(path))
    assert [(line.number, line.fault) for line in lines] == [(1, None), (3, fault), (4, None)]
    assert detail in lines[1].detail
    with pytest.raises(UserError, match=r"rows\.jsonl, line 3: ") as caught:
        list(read_jsonl(path))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_last_line_that_is_cut_off_is_said_to_be(tmp_path: Path) -> None:
    for cut in range(2, 17):
        (tmp_path / "rows.jsonl").write_text('{"a": 1}\n' + '{"a": "long one"}'[:-cut])
        *_, last = json_lines(tmp_path / "rows.jsonl")
        if cut < 17:
            assert last.fault == NOT_JSON and "cut off" in last.detail, cut


def test_legal_oddities_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"n": 1, "n": 1}\n{"big": 123456789012345678901234567890}\n{"half": "a\\ud83d", "whole": "\\ud83d\\ude00"}\n'
        '{"separator": "a\u2028b\u0085c", "zero": "\\u0000", "tiny": 1e-400}\n',
        encoding="utf-8",
    )
    found = list(read_jsonl(path))
    assert found == [
        {"n": 1},
        {"big": 123456789012345678901234567890},
        {"half": "a?", "whole": "😀"},
        {"separator": "a\u2028b\x85c", "zero": "\0", "tiny": 0.0},
    ]
    write_jsonl(tmp_path / "again.jsonl", found)
    assert list(read_jsonl(tmp_path / "again.jsonl")) == found


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"PAR1" + bytes(40), "is a Parquet file, not text"),
        (b"\x1f\x8b\x08\0" + bytes(9), "is a gzip file, not text"),
        (b"PK\x03\x04" + bytes(9), "is a zip file, not text"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        list(read_jsonl(tmp_path / "rows.jsonl"))
    with pytest.raises(UserError, match="cannot be read"):
        list(read_jsonl(tmp_path))


@pytest.mark.parametrize("data", [b"", b"{", b"NaN", b"\xff\xfe{", b"[" * 100_000, b'{"a": 1' + b"0" * 5000 + b"}"])
def test_a_json_document_that_cannot_be_read_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_bytes(data)
    with pytest.raises(UserError, match=r"metrics\.json") as caught:
        read_json(tmp_path / "metrics.json")
    assert "\n" not in str(caught.value)
    (tmp_path / "metrics.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "metrics.json") == {}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    record = {"text": "\x85 \u2028 \ufeff 😀", "numbers": [1, 0.5, -1e300], "nested": {"a": [None, True]}}
    assert write_jsonl(tmp_path / "a.jsonl", [record, record]) == 2
    assert list(read_jsonl(tmp_path / "a.jsonl")) == [record] * 2
    assert json.loads(dumps(record)) == record
