"""Build the documentation with Sphinx: `make docs`. The pages are MyST Markdown, the theme is Furo."""

from __future__ import annotations

import os
import re
import sys
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
os.environ["DJANGO_SETTINGS_MODULE"] = "gearman_example.settings"

import django  # noqa: E402

import django_gearman  # noqa: E402

django.setup()  # autodoc imports modules that read the settings

project = "django-gearman"
author = "the django-gearman contributors"
version = release = django_gearman.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx_copybutton"]
exclude_patterns = ["_build", "inventories", "project"]
nitpicky = True

# Markdown

myst_enable_extensions = ["attrs_inline", "deflist", "fieldlist"]
myst_heading_anchors = 4  # [text](page.md#heading) works, and a wrong heading is an error
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

# Docstrings

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
default_role = "literal"  # docstrings write `code` as Markdown does
nitpick_ignore_regex = [  # types in signatures that have no entry of their own
    ("py:.*", r"(.*[.~])?_\w+"),
    ("py:.*", r".*[\[\]].*"),
    ("py:.*", r"django_gearman\..*|JobAlreadyRegistered|R_co|P"),
]


def tidy(app, what, name, obj, options, signature, returned):  # type: ignore[no-untyped-def]
    """Leave type variables and the marker of missing arguments out of a signature."""
    if signature is None:
        return None  # of a property
    changes = {
        r": ~?_P(\.\w+)?": "",
        r"<not given>": "...",
        r"\[~?(\w+\.)*(R_co|_R|_T)\]": "",
        r", \*\*others: Never": "",
    }
    for pattern, text in changes.items():
        signature = re.sub(pattern, text, signature)
        returned = re.sub(pattern, text, returned or "")
    return signature, "" if returned.endswith(("R_co", "_R")) else returned


def setup(app):  # type: ignore[no-untyped-def]
    app.connect("autodoc-process-signature", tidy)


# Links to other documentation. The inventories are short lists in this repository, so that the build
# gives the same result with and without internet: docs/inventories/README.md.


def packed(name: str) -> str:
    """Write the inventory `inventories/NAME.txt` in Sphinx's packed format, and return its path."""
    source = HERE / "inventories" / f"{name}.txt"
    lines = [line for line in source.read_text().splitlines() if line and line[0] != "#"]
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version:\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    target = HERE / "_build" / "inventories" / f"{name}.inv"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(head.encode() + zlib.compress("\n".join(lines).encode() + b"\n"))
    return str(target)


intersphinx_mapping = {
    "django": ("https://docs.djangoproject.com/en/stable/", packed("django")),
    "python": ("https://docs.python.org/3/", packed("python")),
}

# The look

html_show_copyright = False
smartquotes = False  # quotes are often code
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_title = f"django-gearman {release}"
