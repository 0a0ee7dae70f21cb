"""Files as Excel writes them in different countries are read; what is ambiguous is refused."""

import io
import zipfile

import pytest
from openpyxl import Workbook

from features.contracts.errors import BadInput
from serving.sheet_reading import MAX_ROWS, clean_id, parse_sheet_amount, read_sheet


def cells(content):
    sheet = read_sheet(content)
    return [(row.number, dict(row.cells)) for row in sheet.rows]


TEA = [(2, {"item_id": "007", "price": "1,99"})]


@pytest.mark.parametrize(
    "content",
    [
        "item_id;price\r\n007;1,99\r\n".encode("utf-8-sig"),
        b'item_id,price\n007,"1,99"\n',
        "Item-ID\tPrice\r\n007\t1,99\r\n".encode("utf-16"),
        b"item id;PRICE;\n007;1,99;\n",
    ],
    ids=["german", "english", "unicode text", "trailing separator"],
)
def test_a_csv_of_any_country_is_read(content):
    assert cells(content) == TEA


def test_rows_keep_the_numbers_of_the_spreadsheet():
    content = b'item_id,reason\n\na,"two\nlines"\nb,x\n'
    assert [number for number, _ in cells(content)] == [3, 5]


@pytest.mark.parametrize(
    ("text", "mark", "amount"),
    [
        ("1.99", ".", "1.99"),
        ("1,99", ",", "1.99"),
        ("1.234,50", ",", "1234.50"),
        ("1,234.50", ".", "1234.50"),
        ("1 234,50", ",", "1234.50"),
        ("1'234.50", ".", "1234.50"),
        ("1.234.567", ",", "1234567"),
        ("1,99 €", ",", "1.99"),
        ("EUR 1.99", ".", "1.99"),
        ("0.999", ".", "0.999"),
        ("1234", ",", "1234"),
        ("1.234", None, "1.234"),  # a number of a worksheet
    ],
)
def test_amounts_are_read_as_they_are_written(text, mark, amount):
    assert parse_sheet_amount(text, "EUR", mark) == amount


@pytest.mark.parametrize(
    ("text", "mark"),
    [("1,234", "."), ("1,234", ","), ("1.234", "."), ("1.234", ","), ("1,234", None)],
)
def test_a_thousand_or_a_fraction_is_refused(text, mark):
    with pytest.raises(BadInput, match=r"may be 1\.234 or 1234"):
        parse_sheet_amount(text, "EUR", mark)


def test_three_digits_are_usual_in_some_currencies_by_the_mark_of_the_file():
    assert parse_sheet_amount("1.234", "KWD", ".") == "1.234"
    assert parse_sheet_amount("1,234", "KWD", ",") == "1.234"
    with pytest.raises(BadInput):
        parse_sheet_amount("1,234", "KWD", ".")


@pytest.mark.parametrize(
    "text", ["$1.99", "1.99 USD", "abc", "1.2.3", "1,2,3", "1.23,456.7", "-", "5 %"]
)
def test_what_is_no_amount_of_the_zone_is_refused(text):
    with pytest.raises(BadInput):
        parse_sheet_amount(text, "EUR", ".")


def test_an_id_that_a_spreadsheet_rounded_is_refused():
    with pytest.raises(BadInput, match="rounded"):
        clean_id("4.00638E+12")
    assert clean_id("'-12") == "-12"
    assert clean_id("1E5") == "1E5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        ("item_id;price\nÄpfel;1".encode("cp1252"), "no UTF-8"),
        (b"item_id,price;zone\n1,2;3\n", "parted by"),
        (b"price,price\n1,2\n", "two columns are called 'price'"),
        (b"item_id,price\n1,1,99\n", "more cells than the 2 columns"),
        (b'item_id,price\n"1,2\n', "no CSV"),
        (b"item_id\n" + b"x" * 5_000, "more than 4,000 characters"),
        (b"item_id\n" + b"x\n" * (MAX_ROWS + 1), "more than 100,000 rows"),
        (b"\xd0\xcf\x11\xe0old", "old .xls"),
        (b"PK\x03\x04damaged", "damaged"),
        (b"a\x00b", "no text"),
        (b"sep=;\nitem_id;price\n", "names a separator"),
    ],
)
def test_what_cannot_be_read_is_named(content, message):
    with pytest.raises(BadInput, match=message):
        read_sheet(content)


def make_xlsx(*rows):
    workbook = Workbook()
    for row in rows:
        workbook.active.append(row)
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def test_a_worksheet_is_read_with_its_numbers_as_people_write_them():
    content = make_xlsx(["item_id", "price", "reason"], [4006381333931, 1.9899999999999998, None])
    assert cells(content) == [(2, {"item_id": "4006381333931", "price": "1.99", "reason": ""})]


def test_a_zip_that_unpacks_to_gigabytes_or_declares_entities_is_refused():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"xl/{number}.xml", b"0" * (100 * 1024**2))
    with pytest.raises(BadInput, match="unpacks to too much"):
        read_sheet(bomb.getvalue())
    entities = io.BytesIO()
    with zipfile.ZipFile(entities, "w") as archive:
        archive.writestr("xl/workbook.xml", b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]>')
    with pytest.raises(BadInput, match="document type"):
        read_sheet(entities.getvalue())


def rewrite_worksheet(before, after):
    """Return a worksheet of one row with a part of its XML replaced."""
    source = zipfile.ZipFile(io.BytesIO(make_xlsx(["item_id", "price"], ["tea", 1.99])))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in source.namelist():
            text = source.read(name)
            if name.endswith("sheet1.xml"):
                assert before in text
                text = text.replace(before, after)
            archive.writestr(name, text)
    return file.getvalue()


def test_a_row_far_below_the_others_is_refused_and_a_gap_is_skipped():
    """Neither how far down a row stands nor how large the worksheet says it is costs anything."""
    assert (
        read_sheet(rewrite_worksheet(b'<row r="2"', b'<row r="900000"')).rows[0].number == 900_000
    )
    with pytest.raises(BadInput, match="more rows than a worksheet"):
        read_sheet(rewrite_worksheet(b'<row r="2"', b'<row r="1000000000"'))
    wide = rewrite_worksheet(b'<dimension ref="A1:B2"', b'<dimension ref="A1:XFD900000"')
    assert cells(wide) == [(2, {"item_id": "tea", "price": "1.99"})]


def test_a_document_type_behind_a_long_comment_is_refused():
    comment = b"<!--" + b"x" * 5_000 + b"-->"
    hidden = comment + b'<!DOCTYPE worksheet [<!ENTITY a "b">]><worksheet'
    with pytest.raises(BadInput, match="document type"):
        read_sheet(rewrite_worksheet(b"<worksheet", hidden))


def test_a_cell_of_thousands_of_letters_is_no_amount():
    with pytest.raises(BadInput, match="is no amount of money"):
        parse_sheet_amount("1" + "a" * 3_990 + "1", "EUR", None)
