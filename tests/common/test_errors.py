"""Laws of user-facing sentences."""

import pytest

from wethink.common.errors import UserError


@pytest.mark.parametrize("name", ["A" * 5_000, "problem " * 1_000, "\x1b[31m" * 900])
def test_a_sentence_stays_one_that_a_person_can_read_whatever_a_file_is_called(name: str) -> None:
    said = str(UserError(f"rows.jsonl, line 3: the key “{name}” is unknown; take it out."))
    assert len(said) <= 2_600 and "\x1b" not in said
    assert said.startswith("rows.jsonl, line 3: the key “") and said.endswith("is unknown; take it out.")


def test_a_sentence_of_usual_length_is_left_as_it_is() -> None:
    said = f"the file {'/folder' * 40}/rows.jsonl does not exist."
    assert str(UserError(said)) == said
