"""Benchmark tables as other tools write them: one reader takes every dialect, and says which cell it cannot read."""

import base64
import json
from pathlib import Path

import pytest

from tests.evaluation.test_benchmark_tables import png
from wethink.common.errors import UserError
from wethink.data.benchmark_table import NoImage, Table, decode_base64

# Bytes whose base64 has all of "+", "/" and "=", so that every alphabet and padding differs.
BYTES = next(
    data
    for n in range(10_000)
    for data in [png("red", 9) + bytes([n % 251, n % 7, 255, 254, n % 13])]
    if {"+", "/", "="} <= set(base64.b64encode(data).decode())
)
PLAIN = base64.b64encode(BYTES).decode()
DIALECTS = {
    "data URI": f"data:image/png;base64,{PLAIN}",
    "data URI in capitals with a parameter": f"DATA:image/jpeg;charset=utf-8;BASE64,{PLAIN}",
    "data URI without a type": f"data:;base64,{PLAIN}",
    "percent-encoded data URI": "data:image/png;base64," + PLAIN.replace("+", "%2B").replace("/", "%2F"),
    "MIME line breaks": '"' + base64.encodebytes(BYTES).decode() + '"',
    "Windows line breaks": '"' + base64.encodebytes(BYTES).decode().replace("\n", "\r\n") + '"',
    "lone carriage returns": '"' + base64.encodebytes(BYTES).decode().replace("\n", "\r") + '"',
    "unquoted carriage return": f"{PLAIN[:40]}\r{PLAIN[40:]}",
    "blanks": f"  {PLAIN[:20]} {PLAIN[20:]}  ",
    "line breaks written out": PLAIN[:76] + "\\n" + PLAIN[76:],
    "URL-safe alphabet": base64.urlsafe_b64encode(BYTES).decode(),
    "no padding": PLAIN.rstrip("="),
    "Python bytes": f"b'{PLAIN}'",
    "list of one": repr([PLAIN]),
    "JSON list": '"' + json.dumps([f"data:image/png;base64,{PLAIN}"]).replace("/", "\\/").replace('"', '""') + '"',
}


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_of_base64_is_the_same_image(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "T.tsv", f"index\tquestion\timage\n7\tq\t{DIALECTS[name]}\n8\tafter\t7\n")
    table = Table(path)
    assert table.images("7") == [BYTES] == table.images("8")
    assert table.items["8"].get("question") == "after"


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("https://example.org/" + "a" * 80 + ".png", "is an address"),
        ("data:image/png," + "A" * 80, "without base64"),
        ("data:image/png;base64,", "is empty"),
        ("*" * 90, "no base64"),
        (PLAIN[:33] + "=" + PLAIN[33:-3], "no base64"),
    ],
)
def test_a_cell_that_holds_no_image_is_named(cell: str, said: str) -> None:
    with pytest.raises(NoImage, match=said):
        decode_base64(cell)


ROWS = [("1", "first", "a"), ("2", "second\u00e9", "b"), ("3", "third", "")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize(
    "header",
    ["index\tquestion\tanswer\timage", "Index\tQUESTION\tAnswer\tImage", " index \tquestion\t answer\timage "],
)
def test_line_ends_marks_and_capitals_of_headers_change_nothing(
    tmp_path: Path, end: str, encoding: str, header: str
) -> None:
    lines = [header, *("\t".join([*row, PLAIN]) for row in ROWS)]
    table = Table(write(tmp_path / "T.tsv", end.join(lines) + end, encoding))
    assert [(i.index, i.get("question"), i.get("answer")) for i in table.items.values()] == ROWS
    assert all(table.images(index) == [BYTES] for index in table.items)


def test_a_header_in_lower_case_still_names_options(tmp_path: Path) -> None:
    table = Table(write(tmp_path / "T.tsv", f"index\tquestion\ta\tb\tc\timage\n1\tq\tcat\tdog\t\t{PLAIN}\n"))
    assert table.items["1"].options() == {"A": "cat", "B": "dog"}


def test_named_files_are_found_singly_in_lists_and_as_windows_writes_them(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("one.png", "two.png"):
        (tmp_path / "pictures" / name).write_bytes(png("red") if name == "one.png" else png("blue"))
    cells = ["pictures/one.png", "pictures\\two.png", '"[""pictures/one.png"", ""pictures/two.png""]"', "None"]
    text = "index\tquestion\tImage Path\timage\n" + "".join(f"{n}\tq\t{c}\tnan\n" for n, c in enumerate(cells))
    table = Table(write(tmp_path / "T.tsv", text))
    assert table.images("0") == [png("red")] and table.images("1") == [png("blue")]
    assert table.images("2") == [png("red"), png("blue")] and table.items["2"].pictures == 2
    assert len(table) == 3 and table.skipped == 1


def test_cells_that_a_spreadsheet_left_out_and_empty_rows_are_nothing(tmp_path: Path) -> None:
    text = f"index\timage\tquestion\thint\tanswer\n1\t{PLAIN}\tq\n\t\t\t\t\n2\t{PLAIN}\tq\t\tA\t\t\n"
    table = Table(write(tmp_path / "T.tsv", text))
    assert list(table.items) == ["1", "2"] and table.items["2"].get("answer") == "A"


def test_one_bad_image_of_several_is_told_from_the_good_ones(tmp_path: Path) -> None:
    table = Table(write(tmp_path / "T.tsv", f"index\tquestion\timage\n1\tq\t{[PLAIN, '*' * 80, PLAIN]!r}\n"))
    assert [isinstance(found, bytes) for found in table.pictures("1")] == [True, False, True]
    with pytest.raises(NoImage):
        table.images("1")


def test_rows_that_cannot_be_read_stop_a_run_and_are_counted_by_a_check(tmp_path: Path) -> None:
    text = f"index\tquestion\timage\n1\tq\t{PLAIN}\n2\ta\ttab\t{PLAIN}\n1\tagain\t{PLAIN}\n\tnone\t{PLAIN}\n"
    path = write(tmp_path / "T.tsv", text)
    with pytest.raises(UserError, match="row 2: 4 cells under 3 column names"):
        Table(path)
    table = Table(path, keep_going=True)
    assert table.faults == ["row 2: 4 cells under 3 column names"]
    assert list(table.items) == ["1", "1 (row 3)", "(row 4)"]
    assert all(table.images(index) == [BYTES] for index in table.items)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("index\tquestion\timage\n1\tq\tx\n".encode("utf-16"), "UTF-8"),
        ("index\tquestion\timage\n1\tcaf\u00e9\tx\n".encode("latin-1"), "UTF-8"),
        (b"index\tquestion\timage\tImage\n", "'image' occurs twice"),
        (b"index,question,image\n1,q,x\n", "no column 'index'"),
        (b"", "no item with an image|no column"),
    ],
)
def test_a_file_that_is_no_such_table_is_a_sentence(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "T.tsv").write_bytes(data)
    with pytest.raises(UserError, match=said):
        Table(tmp_path / "T.tsv")
