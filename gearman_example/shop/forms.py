"""The forms for uploads, and their checks."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from .products import check_csv

MAX_BYTES = 5 * 1024 * 1024
MAX_PIXELS = 50_000_000
FORMATS = {"JPEG": "jpeg", "PNG": "png", "GIF": "gif", "WEBP": "webp"}


def check_size(file: UploadedFile[Any]) -> None:
    """Raise ValidationError for a file that is too large."""
    if file.size is not None and file.size > MAX_BYTES:
        raise ValidationError(
            f"This file has {filesizeformat(file.size)}; at most {filesizeformat(MAX_BYTES)} are "
            "accepted."
        )


class PictureForm(forms.Form):
    """The upload of a picture. Pillow reads the head of the file; the job reads the rest."""

    file = forms.ImageField(
        label="Picture",
        help_text="JPEG, PNG, GIF or WebP, up to 5 MB.",
        validators=[check_size],
        widget=forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/gif,image/webp"}),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.image.format not in FORMATS:
            raise ValidationError(f"{file.image.format} pictures are not accepted.")
        if file.image.width * file.image.height > MAX_PIXELS:
            raise ValidationError(f"{file.image.width} × {file.image.height} pixels are too many.")
        file.extension = FORMATS[file.image.format]  # its name may say something else
        return file


class ImportForm(forms.Form):
    """The upload of a CSV file."""

    file = forms.FileField(
        label="CSV file",
        help_text="UTF-8, up to 5 MB. The first line is “number,name,price”.",
        validators=[check_size],
        widget=forms.FileInput(attrs={"accept": ".csv,text/csv"}),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        check_csv(file.read())
        file.seek(0)
        return file
