"""`make demo-web` in a browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.support.browser import chromium, find_browser, press, show_as
from tests.support.gearmand import wait_until

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.integration


class Demo:
    """A running demo, with its output."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "demo.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gearman_example.shop", "--free-ports"],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "browser" in self.output or not self.is_running, "the address")
        found = re.search(r"Open (http://127\.0\.0\.1:\d+/) in a browser", self.output)
        assert found, f"the demo did not start:\n{self.output}"
        self.address = found[1]

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def children(self) -> list[int]:
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def stop(self, number: int = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(40)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    find_browser()
    demo = Demo(tmp_path)
    yield demo
    if demo.is_running:
        demo.stop()


@pytest.fixture
def browser(demo: Demo, tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as browser:
        browser.get(demo.address)
        yield browser


@pytest.fixture
def see(browser: Chrome, demo: Demo, tmp_path: Path) -> Callable[[Callable[[], object], str], None]:
    """Return a function that waits until the page is as expected, or fails and shows the page."""

    def wait(is_there: Callable[[], object], what: str) -> None:
        try:
            wait_until(is_there, what, 20)
        except AssertionError as error:
            browser.save_screenshot(str(tmp_path / "page.png"))
            text = browser.find_element(By.TAG_NAME, "body").text
            pytest.fail(
                f"{error}\nThe page {browser.current_url}, in {tmp_path}/page.png:\n{text}\n"
                f"Its console: {browser.get_log('browser')}\nThe demo:\n{demo.output}"
            )

    return wait


def test_a_visitor_sees_jobs_at_work(browser, demo, see, tmp_path):
    def texts(selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)"
        return browser.execute_script(script, selector)

    # A picture is uploaded, and its thumbnail appears without a reload.
    Image.new("RGB", (1000, 500), "teal").save(tmp_path / "cat.jpeg")
    browser.find_element(By.NAME, "file").send_keys(str(tmp_path / "cat.jpeg"))
    press(browser, "Upload")
    width = "return document.querySelector('figure img')?.naturalWidth"
    see(lambda: browser.execute_script(width) == 480, "the thumbnail")
    assert texts("figure small") == ["1000 × 500 → 480 × 240 pixels"]

    # The bar of an import moves, and the result takes its place.
    browser.find_element(By.LINK_TEXT, "Imports").click()
    press(browser, "Import 10,000 products")
    value = "return document.querySelector('progress')?.value ?? -1"
    values: list[int] = []

    def moves() -> bool:
        values.append(browser.execute_script(value))
        return len({number for number in values if number > 0}) >= 3

    see(moves, "a bar that moves")
    assert [each for each in values if each >= 0] == sorted(each for each in values if each >= 0)
    see(lambda: "9,998 products imported, 2 lines refused" in texts("#job p"), "the result")
    assert texts("#announcer")[0].startswith("Import: Done."), "screen readers are told"

    # A failure shows its reason, and works when it is retried. Another job is retried by itself.
    browser.find_element(By.LINK_TEXT, "Jobs").click()
    press(browser, "Run a job that is retried")
    press(browser, "Run a job that fails")
    see(lambda: any("on purpose" in row and "Failed" in row for row in texts("tr")), "the failure")
    press(browser, "Retry")
    see(lambda: any("Now it has worked" in row for row in texts("tr")), "the second attempt")
    see(lambda: any("Done, attempt 3" in row for row in texts("tr")), "the third attempt")

    # Nothing is wider than a telephone, and the browser has nothing to complain of.
    show_as(browser, 400, 800, "dark")
    for path in ("", "imports/", "imports/1/", "jobs/"):
        browser.get(demo.address + path)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 400, path
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["Ctrl-C", "terminal"])
def test_ctrl_c_and_a_closed_terminal_end_everything(demo, number):
    children = demo.children()
    assert len(children) == 2

    assert demo.stop(number) == 0

    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []
    assert "Traceback" not in demo.output


@pytest.mark.parametrize(("command", "name"), [("gearman_worker", "worker"), ("runserver", "site")])
def test_neither_part_runs_without_the_other(demo, command, name):
    [part] = [
        pid
        for pid in demo.children()
        if command.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]

    os.kill(part, signal.SIGTERM)

    assert demo.process.wait(40) == 1
    assert f"the demo stopped: the {name} has ended" in demo.output


def test_a_port_in_use_is_named():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code = "import sys, gearman_example.shop.__main__ as demo; "
        code += f"demo.SITE_PORT = {port}; sys.argv = ['shop']; sys.exit(demo.main())"
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False
        )

    assert run.returncode == 1
    assert f"port {port} of this machine: Address already in use" in run.stderr
    assert "--free-ports" in run.stderr
