"""A browser without JavaScript: it loads pages, and fills in and sends their only form."""

from __future__ import annotations

import re
import urllib.request
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from uuid import uuid4

_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class Browser:
    """One page after another, with cookies."""

    def __init__(self) -> None:
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(cookies)
        self.address = ""
        self.page = ""

    def open(self, address: str) -> str:
        """Load a page, and return its text; raise AssertionError for an error page."""
        return self._load(urllib.request.Request(address))

    def fetch(self, address: str) -> bytes:
        """Return what is at this address, and stay on the page."""
        with self._opener.open(address, timeout=30) as response:
            content: bytes = response.read()
        return content

    def send(self, fields: dict[str, str], files: dict[str, tuple[str, bytes]]) -> str:
        """Send the form of the page, and return the text of the page that comes after it."""
        token = _TOKEN.search(self.page)
        assert token is not None, f"there is no form in\n{self.page}"
        boundary = uuid4().hex
        body = b""
        parts = [(f'name="{name}"', text.encode()) for name, text in fields.items()]
        parts.append(('name="csrfmiddlewaretoken"', token[1].encode()))
        for name, (file, content) in files.items():
            assert f'type="file" name="{name}"' in self.page
            parts.append((f'name="{name}"; filename="{file}"', content))
        for head, content in parts:
            body += f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode()
            body += content + b"\r\n"
        request = urllib.request.Request(
            self.address,
            body + f"--{boundary}--\r\n".encode(),
            {"Content-Type": f"multipart/form-data; boundary={boundary}"},
        )
        return self._load(request)

    def _load(self, request: urllib.request.Request) -> str:
        try:
            with self._opener.open(request, timeout=30) as response:
                self.address, self.page = response.url, response.read().decode()
        except HTTPError as error:
            found = re.search(r"<title>.*?</title>", error.read().decode(), re.DOTALL)
            title = " ".join(found[0].split()) if found else ""
            raise AssertionError(f"{request.full_url}: {error} {title}") from error
        return self.page
