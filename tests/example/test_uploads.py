"""Uploads: what is accepted, what is refused and with which words."""

from __future__ import annotations

import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from PIL import Image

from gearman_example.shop.models import Import, Job, Picture, Product

HEADER = "number,name,price\n"


def picture(kind: str = "JPEG", size: tuple[int, int] = (1000, 500)) -> bytes:
    Image.new("RGB", size, "teal").save(buffer := io.BytesIO(), kind)
    return buffer.getvalue()


def upload(client, path: str, content: bytes | str, name: str = "cat.png"):
    raw = content.encode() if isinstance(content, str) else content
    return client.post(path, {"file": SimpleUploadedFile(name, raw)}, follow=True)


def import_csv(client, content: bytes | str) -> str:
    return upload(client, "/imports/", content, "products.csv").content.decode()


# Pictures


def test_a_picture_gets_its_thumbnail(client):
    page = upload(client, "/", picture(), "cat.jpeg")

    uploaded = Picture.objects.get()
    with Image.open(uploaded.thumbnail.path) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (480, 240))
    assert uploaded.job.state == "done"
    assert "1000 × 500 → 480 × 240 pixels" in page.content.decode()


def test_a_turned_photograph_is_turned_back(client):
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the left
    Image.new("RGB", (1000, 500)).save(buffer := io.BytesIO(), "JPEG", exif=turned)

    upload(client, "/", buffer.getvalue())

    with Image.open(Picture.objects.get().thumbnail.path) as thumbnail:
        assert thumbnail.size == (240, 480)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bytes, "The submitted file is empty."),
        (lambda: b"not a picture", "Upload a valid image."),
        (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "Upload a valid image."),
        (lambda: picture()[:20], "Upload a valid image."),
        (lambda: picture("BMP"), "BMP pictures are not accepted."),
        (lambda: picture("PNG", (10_000, 5_001)), "10000 × 5001 pixels are too many."),
        (lambda: picture() + bytes(5 * 1024 * 1024), "at most 5.0 MB are accepted."),
    ],
    ids=["empty", "text", "svg", "cut off", "format", "pixels", "bytes"],
)
def test_a_wrong_picture_is_refused_in_words(client, content, says):
    page = upload(client, "/", content()).content.decode().replace("\xa0", " ")

    assert says in page
    assert not Picture.objects.exists()
    assert not Job.objects.exists()


def test_no_file_at_all_is_refused_in_words(client):
    assert "This field is required." in client.post("/").content.decode()


def test_a_picture_that_breaks_off_fails_in_the_job_and_the_page_says_so(client):
    page = upload(client, "/", picture()[:-2000], "cat.jpeg")

    assert Job.objects.get().state == "failed"
    assert "Failed" in page.content.decode()
    assert "OSError" in page.content.decode()


def test_the_name_of_a_picture_is_text_and_never_a_path(client, tmp_path):
    page = upload(client, "/", picture("GIF"), "<script>alert(1)<|script>.png").content.decode()

    assert "&lt;script&gt;alert(1)&lt;|script&gt;.png" in page
    [stored] = (tmp_path / "pictures").iterdir()
    assert stored.suffix == ".gif", "the content tells the format"
    assert "script" not in stored.name


def test_a_picture_is_not_served_as_another_kind_of_file(client):
    assert "File extension “html” is not allowed" in (
        upload(client, "/", picture("PNG"), "cat.html").content.decode()
    )
    assert not Picture.objects.exists()


def test_visitors_without_a_picture_use_a_sample(client):
    client.post("/sample")

    assert Picture.objects.get().thumbnail


# Imports


def test_products_are_imported_and_the_second_time_changed(client):
    page = import_csv(client, HEADER + "A-1,Lamp,9.5\nA-2,Desk,100\n")
    assert "2 products imported, 0 lines refused" in page

    import_csv(client, HEADER + "A-2,Desk,90.00\nA-3,Vase,5\nA-3,Jug,6\n")

    assert [(p.number, p.name, str(p.price)) for p in Product.objects.all()] == [
        ("A-1", "Lamp", "9.50"),
        ("A-2", "Desk", "90.00"),
        ("A-3", "Jug", "6.00"),
    ]


def test_ten_thousand_products_are_imported_with_progress(client, gearman_client):
    page = client.post("/imports/sample", follow=True).content.decode()

    assert "9,998 products imported, 2 lines refused" in page
    assert "9,998 products in the shop" in page
    [job] = gearman_client.submitted
    assert (job.progress[0], job.progress[-1]) == ((0, 9998), (9998, 9998))
    assert len(job.progress) == 101


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HEADER + "A-1,Lamp,9.5").encode(),
        HEADER.replace("\n", "\r\n") + "\r\nA-1,Lamp,9.5\r\n",
        HEADER.replace("\n", "\r") + "A-1,Lamp,9.5\r",
        '"number","name","price"\n"A-1"," Lamp ","9.50"',
    ],
    ids=["BOM", "CRLF", "CR", "quotes"],
)
def test_a_csv_file_comes_from_any_program(client, content):
    import_csv(client, content)

    assert [(p.number, p.name) for p in Product.objects.all()] == [("A-1", "Lamp")]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "The submitted file is empty."),
        (b"\n\n", "This file is empty."),
        (b"\xef\xbb\xbf", "This file is empty."),
        (b"\x89PNG\r\n\x1a\n", "This file is not text in UTF-8."),
        ((HEADER + "A-1,Stövchen,3").encode("latin-1"), "This file is not text in UTF-8."),
        ((HEADER + "A-1,Lamp,3").encode("utf-16"), "This file is not text in UTF-8."),
        (b"number,name,price\0\n", "it has zero bytes."),
        (HEADER, "This file has no products"),
        ("name;price\n", "It is “name;price”."),
        ("<b>x</b>,y\n", "It is “&lt;b&gt;x&lt;/b&gt;,y”."),
        (HEADER + "A-1," + "x" * 200_000, "field larger than field limit"),
        (HEADER + "A-1,Lamp,1\n" * 500_000, "at most 5.0 MB are accepted."),
    ],
    ids=[
        *("empty", "lines", "BOM only", "binary", "latin-1", "utf-16", "zero"),
        *("header only", "semicolons", "html", "field", "bytes"),
    ],
)
def test_a_wrong_file_is_refused_in_words(client, content, says):
    assert says in import_csv(client, content).replace("\xa0", " ")
    assert not Import.objects.exists()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("A-1,Lamp", "2 columns, where 3 are expected."),
        ("A-1,Lamp,1,2", "4 columns, where 3 are expected."),
        (",Lamp,1", "the number has 0 characters, not 1 to 20."),
        (f"A-1,{'x' * 101},1", "the name has 101 characters, not 1 to 100."),
        *(
            (f"A-1,Lamp,{price}", f"the price is “{price}”, not a number")
            for price in ("cheap", "-1", "NaN", "sNaN", "Infinity", "1e999999999", "1000000", "")
        ),
    ],
)
def test_a_wrong_line_is_refused_and_the_others_are_imported(client, line, says):
    page = import_csv(client, f"{HEADER}A-0,Rug,1\n{line}\nA-2,Vase,2\n")

    assert "2 products imported, 1 lines refused" in page
    assert f"Line 3: {says}" in page
    assert Product.objects.count() == 2


def test_html_in_a_cell_is_text(client):
    page = import_csv(client, HEADER + "A-1,<script>alert(1)</script>,1\nA-2,Rug,<b>2</b>\n")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "“&lt;b&gt;2&lt;/b&gt;”" in page
    assert "<script>alert" not in page
