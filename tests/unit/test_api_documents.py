"""YAML of any kind ends as data or as a located refusal, in bounded time."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.api.documents import DEEPEST, MOST_ALIASED, MOST_NODES, MOST_UNREADABLE, read_documents
from isthmus.api.objects import read_objects
from isthmus.api.sources import LARGEST, Source
from isthmus.model.build import build


def data_of(text: str) -> list[Any]:
    documents, unreadable = read_documents(text)
    assert unreadable == []
    return [document.data for document in documents]


def refusal_of(text: str) -> tuple[int, int, str]:
    _, (first, *_) = read_documents(text)
    return first.line, first.column, first.message


def problems_of(data: bytes | None) -> list[tuple[str, int, int]]:
    objects, _ = read_objects([Source("in.yaml", data, True)])
    return [(problem.code, problem.line, problem.column) for problem in build(objects)[1]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("::1", "::1"),
        ("fe80::1/64", "fe80::1/64"),
        ("1.2.3.4/32", "1.2.3.4/32"),
        ("1.2.3.4", "1.2.3.4"),
        ("0777", "0777"),
        ("1_000", "1_000"),
        ("443", 443),
        ("0x10", 16),
        ("0o17", 15),
        ("-7", -7),
        ("1.5", 1.5),
        ("true", True),
        ('"true"', "true"),
        ("'443'", "443"),
        ("!!str 443", "443"),
        ("!!int '443'", 443),
        ("9" * 10_000, "9" * 10_000),
    ],
)
def test_scalars_are_yaml_1_2(text: str, value: object) -> None:
    (found,) = data_of(f"a: {text}\n")
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_keys_are_the_text_that_stands_there() -> None:
    assert data_of("no: 1\n100: 2\n~: 3\n0x10: 4\n") == [{"no": 1, "100": 2, "~": 3, "0x10": 4}]


def test_anchors_aliases_and_merge_keys_work() -> None:
    text = "base: &base {x: 1, y: 2}\nsame: *base\nmore: {<<: *base, y: 3}\nboth: {<<: [{z: 4}, *base]}\n"
    (found,) = data_of(text)
    assert found["same"] == {"x": 1, "y": 2}
    assert found["more"] == {"x": 1, "y": 3}
    assert found["both"] == {"z": 4, "x": 1, "y": 2}


def test_several_documents_each_know_their_lines() -> None:
    documents, _ = read_documents("# one\na: 1\n---\n# two\nb:\n  c: [x, y]\n---\n---\nd: 4\n")
    assert [document.data for document in documents] == [{"a": 1}, {"b": {"c": ["x", "y"]}}, {"d": 4}]
    assert documents[1].outline.place(("b", "c", 1)) == (6, 10)
    assert documents[1].outline.place(("b",), key=True) == (5, 1)
    assert documents[1].outline.place(("b", "nowhere", 7)) == (6, 3)
    assert documents[2].outline.place(("d",)) == (9, 4)


def test_places_lead_through_aliases_and_merge_keys() -> None:
    (document,), _ = read_documents("base: &base\n  x: 1\nmore:\n  <<: *base\n  y: 2\n")
    assert document.outline.place(("more", "x")) == (2, 6)
    assert document.outline.place(("more", "y")) == (5, 6)


def test_one_unreadable_document_does_not_hide_the_others() -> None:
    documents, unreadable = read_documents("a: 1\n---\nb: [\n---\nc: 3\n---\nd: *nope\n")
    assert [document.data for document in documents] == [{"a": 1}, {"c": 3}]
    assert [(one.line, one.column) for one in unreadable] == [(4, 1), (7, 4)]
    assert documents[1].outline.place(("c",)) == (5, 4)


def test_duplicate_keys_are_told_with_both_places() -> None:
    (document,), _ = read_documents("a:\n  b: 1\n  b: 2\n")
    assert document.odd
    (double,) = document.outline.duplicates()
    assert (double.path, double.key, double.first, double.second) == (("a",), "b", (2, 3), (3, 3))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 100_000,
        "a:\n" + "".join(" " * depth + "a:\n" for depth in range(1, 2_000)),
    ],
)
def test_deep_nesting_is_refused_where_it_becomes_too_deep(text: str) -> None:
    assert refusal_of(text)[2] == f"nested more than {DEEPEST} levels deep"


def test_aliases_that_multiply_are_refused() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    assert refusal_of(text)[2] == f"aliases repeat more than {MOST_ALIASED:,} values"
    assert refusal_of("a: &a [*a]\n")[2] == "the anchor &a contains itself"
    assert refusal_of("a: *a\n")[0:2] == (1, 4)


def test_too_many_values_are_refused_without_being_kept() -> None:
    assert refusal_of("- [" + "a," * (MOST_NODES + 10) + "]\n")[2].startswith("more than 2,000,000 values")


def test_directives_do_not_cost_quadratic_time() -> None:
    start = time.process_time()
    assert "directives" in refusal_of("".join(f"%TAG !{number}! x\n" for number in range(100_000)) + "---\na: 1\n")[2]
    assert time.process_time() - start < 2


def test_of_very_many_unreadable_documents_the_first_are_told() -> None:
    _, unreadable = read_documents("---\n[\n" * 10_000)
    assert len(unreadable) == MOST_UNREADABLE + 1


@pytest.mark.parametrize("tag", ["!!python/object:os.system", "!!python/name:os.system", "!!set", "!own", "!!binary"])
def test_tags_that_make_more_than_data_are_refused(tag: str) -> None:
    line, column, message = refusal_of(f"a:\n  b: {tag} {{}}\n")
    assert (line, column) == (2, 6)
    assert message.endswith("is not accepted here")


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", (1, 1)),
        (b"# nothing\n---\n", (1, 1)),
        (b"a: b\0c\n", (1, 5)),
        (b"a: 1\nb: \x07\n", (2, 4)),
        (b"a: caf\xe9\n", (1, 7)),
        (b"\xff\xfea\0:\0", (1, 1)),
        (b"a: [1\n", (2, 1)),
        (b"a: b: c\n", (1, 5)),
        (b"? [x]\n: y\n", (1, 3)),
        (b"a:\n\t- b\n", (2, 1)),
        (None, (1, 1)),
    ],
)
def test_what_is_no_yaml_is_invalid_at_its_place(data: bytes | None, place: tuple[int, int]) -> None:
    assert problems_of(data) == [("yaml-invalid", *place)]


@pytest.mark.parametrize("text", ["hello", "42", "- a\n- b\n", "true", "null: null"])
def test_what_is_yaml_but_no_object_is_told_at_its_place(text: str) -> None:
    assert {code for code, *_ in problems_of(text.encode())} <= {"field-type", "field-missing"}
    assert problems_of(text.encode())


def test_a_byte_order_mark_and_crlf_change_no_place() -> None:
    (code, line, column), *_ = problems_of(b"\xef\xbb\xbfapiVersion: 7\r\nkind: Peering\r\n")
    assert (code, line, column) == ("field-type", 1, 13)


def test_a_list_holds_objects() -> None:
    text = b"apiVersion: v1\nkind: List\nitems:\n- kind: Peering\n- 7\n- apiVersion: apps/v1\n  kind: Pod\n"
    assert problems_of(text) == [("field-missing", 4, 3), ("field-type", 5, 3), ("kind-foreign", 6, 15)]
    assert problems_of(b"apiVersion: v1\nkind: List\nitems: 7\n") == [("field-type", 3, 8)]


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_end_as_problems(data: bytes) -> None:
    assert problems_of(data)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab:-[]{},&*!|>'\"#%\n \t~0.?", max_size=120))
def test_any_yaml_like_text_ends_as_problems(text: str) -> None:
    assert problems_of(text.encode())


def test_the_limit_of_a_file_is_some_megabytes() -> None:
    assert 8 << 20 <= LARGEST <= 64 << 20
