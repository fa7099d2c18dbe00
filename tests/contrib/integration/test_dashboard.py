"""The admin's pages in a browser, with real job servers and workers, and a strict policy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from django_gearman.testing.gearmand import free_port
from tests.contrib.integration.databases import ROOT
from tests.support.browser import chromium, find_browser, press, show_as
from tests.support.gearmand import Gearmand, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.gearmand]

PAGES = ("overview", "workers", "failures", "schedules", "jobs")
#: Makes the pages' timers a hundred times as fast, and counts those that run.
QUICK = """
const [begin, end] = [window.setTimeout, window.clearTimeout];
window.waiting = new Set();
window.setTimeout = (call, time) => {
    const id = begin(() => { waiting.delete(id); call(); }, time / 100);
    waiting.add(id);
    return id;
};
window.clearTimeout = id => { waiting.delete(id); end(id); };
"""

#: Lets the page get itself with other rows, and keeps what it should then be.
CHANGED = """
const page = new DOMParser().parseFromString(document.documentElement.outerHTML, 'text/html');
const body = page.querySelector('.gearman-live tbody');
body.append(...[...body.children].reverse());
body.querySelector('#queue-1').remove();
body.querySelector('#queue-2 th').textContent = 'changed';
body.querySelector('#queue-3').className = 'changed';
body.querySelector('#queue-4').append(page.createElement('td'));
const added = body.querySelector('#queue-4').cloneNode(true);
added.id = 'queue-new';
body.prepend(added);
page.querySelector('.gearman-servers').remove();
window.expected = page.querySelector('.gearman-live').innerHTML;
window.fetch = async () => new Response(page.documentElement.outerHTML);
"""


class Site:
    """A project with two job servers, a `gearman_worker` and a web server."""

    def __init__(self, directory: Path, servers: list[Gearmand]) -> None:
        self.servers = servers
        self.port = free_port()
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.contrib.integration.dashboard.settings",
            "TEST_DATABASE": str(directory / "db.sqlite3"),
            "TEST_GEARMAND": ",".join(server.address for server in servers),
            "DJANGO_SUPERUSER_PASSWORD": "secret",
        }

    def start(self) -> None:
        self.run("manage.py", "migrate", "-v", "0")
        self.run("manage.py", "createsuperuser", "--noinput", "--username=ada", "--email=a@x.org")
        self._begin("gearman_worker", "-q", "mail:2", "-q", "reports:1", "--grace-period", "1")
        self._begin("runserver", "--noreload", f"127.0.0.1:{self.port}")
        wait_until(self.serves, f"the site\n{self.logs()}")

    def serves(self) -> bool:
        working = [
            server.totals().get("shop.build_report", (0, 0, 0))[2] for server in self.servers
        ]
        log = self._directory / "runserver.log"
        return all(working) and "Quit the server" in log.read_text()

    def running(self, function: str) -> int:
        """Return the number of a function's running jobs."""
        return sum(server.totals().get(function, (0, 0, 0))[1] for server in self.servers)

    def run(self, *command: str) -> None:
        """Run a program to its end."""
        ended = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stdout

    def submit(self, source: str) -> None:
        """Run statements in which the jobs of the project are known."""
        jobs = "tests.contrib.integration.dashboard.gearman_jobs"
        self.run("-c", f"import django; django.setup(); from {jobs} import *\n{source}")

    def _begin(self, command: str, *arguments: str) -> None:
        with (self._directory / f"{command}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "manage.py", command, *arguments],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self._directory.glob("*.log"))

    def close(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(60)


@pytest.fixture(scope="module")
def site(tmp_path_factory: Any) -> Iterator[Site]:
    find_browser()
    with ExitStack() as stack:
        servers = [stack.enter_context(Gearmand()) for _ in range(2)]
        site = Site(tmp_path_factory.mktemp("site"), servers)
        stack.callback(site.close)
        site.start()
        site.submit(
            "for n in range(12): send_mail.do_background(f'{n}@example.org')\n"
            "for n in range(3): send_mail.do_background('nowhere')\n"
            "build_report.do_background('2026-10', 600)\n"
            "index_product.do_background(1)\n"
            "from django_gearman import GearmanClient\n"
            "GearmanClient().submit_job('other.resize', 1, background=True)"
        )
        wait_until(lambda: site.running("shop.build_report"), "the long job to run")
        yield site


@pytest.fixture(scope="module")
def browser(site: Site, tmp_path_factory: Any) -> Iterator[Chrome]:
    """A browser in which the superuser has logged in."""
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as browser:
        browser.get(f"http://127.0.0.1:{site.port}/admin/login/?next=/admin/")
        browser.find_element(By.NAME, "username").send_keys("ada")
        browser.find_element(By.NAME, "password").send_keys("secret")
        browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
        wait_until(lambda: "site administration" in browser.title.lower(), "the admin's index")
        yield browser


@pytest.fixture
def visit(site: Site, browser: Chrome) -> Callable[[str], None]:
    """Return a function that opens a page by its name, in a window of usual size."""
    show_as(browser, 1280, 800, "light")
    browser.get_log("browser")

    def visit(page: str) -> None:
        browser.get(f"http://127.0.0.1:{site.port}/admin/gearman_dashboard/{page}/")

    return visit


@pytest.fixture
def quick(browser: Chrome) -> Iterator[None]:
    """Run the timers of the test's pages faster."""
    command = "Page.addScriptToEvaluateOnNewDocument"
    added = browser.execute_cdp_cmd(command, {"source": QUICK})
    yield
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def text_of(browser: Chrome) -> str:
    return browser.find_element(By.ID, "content").text


def time_of(browser: Chrome) -> str:
    return browser.find_element(By.CSS_SELECTOR, ".gearman-time time").text


def is_renewed(browser: Chrome, before: str) -> bool:
    """Return True if the page shows another time; False, too, while it is loaded."""
    try:
        return time_of(browser) != before
    except WebDriverException:
        return False


def complaints(browser: Chrome) -> list[str]:
    """Return what the browser has complained about, such as a breach of the policy."""
    found = [entry["message"] for entry in browser.get_log("browser")]
    return [message for message in found if "favicon.ico" not in message]


def test_each_page_fits_its_window_in_light_and_dark_and_keeps_to_the_policy(browser, visit):
    for page in (*PAGES, "failures/list"):
        visit(page)
        grounds = set()
        for width, scheme in ((1280, "light"), (1280, "dark"), (400, "light")):
            show_as(browser, width, 800, scheme)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width, f"{page} scrolls sideways at {width} pixels: {wide}"
            script = "return getComputedStyle(document.querySelector('.gearman-nav')).color"
            grounds.add(browser.execute_script(script))
        assert len(grounds) == 2, f"{page} has no colours of its own in the dark"
    assert complaints(browser) == []


def test_the_overview_shows_the_queues_of_both_servers(browser, visit, site):
    visit("overview")

    text = text_of(browser)

    for server in site.servers:
        assert server.address in text
    rows = {row.split()[0]: row for row in text.splitlines() if row.strip()}
    assert rows["mail"].split()[2:4] == ["of", "2"]
    assert rows["reports"].split()[1:4] == ["1", "of", "1"]
    assert "no worker serves this queue" in rows["search"]


def test_a_running_job_is_shown_with_its_time_and_its_stack(browser, visit):
    visit("workers")
    cells = browser.find_elements(By.CSS_SELECTOR, ".gearman-running")
    [cell] = [cell for cell in cells if "shop.build_report" in cell.text]

    cell.find_element(By.CSS_SELECTOR, "a[href*='pid=']").click()
    wait_until(lambda: "as it is now" in text_of(browser), "the stack")

    stack = browser.find_element(By.CSS_SELECTOR, ".gearman-stack").text
    assert "dashboard/gearman_jobs.py" in stack
    assert "in build_report" in stack
    assert complaints(browser) == []


def test_a_queue_is_paused_and_resumed_by_a_button(browser, visit):
    visit("overview")
    press(browser, "Pause")  # of the first queue, images: no other test needs it

    assert "Queue images is paused" in browser.find_element(By.CLASS_NAME, "messagelist").text
    assert "paused by ada, " in text_of(browser)

    press(browser, "Resume")

    assert "paused by ada" not in text_of(browser)
    assert complaints(browser) == []


def test_rows_that_move_come_and_go_are_as_in_the_new_page(browser, visit, quick):
    visit("overview")
    browser.execute_script(CHANGED)
    row = browser.find_element(By.ID, "queue-2")

    script = "return document.querySelector('.gearman-live').innerHTML === window.expected"
    wait_until(lambda: browser.execute_script(script), "the new page")

    assert row.text.startswith("changed"), "the row is another one"
    assert complaints(browser) == []


def test_a_page_renews_itself_and_leaves_what_is_open_and_focused(browser, visit, quick):
    visit("overview")
    browser.find_element(By.CSS_SELECTOR, "#others summary").click()
    browser.execute_script("window.focused = document.activeElement")
    before = time_of(browser)

    wait_until(lambda: is_renewed(browser, before), "the page to renew itself")

    assert "other.resize" in text_of(browser), "it is no longer open"
    script = "return document.activeElement === window.focused && window.focused.tagName"
    assert browser.execute_script(script) == "SUMMARY", "the page was loaded anew"

    browser.execute_script("window.fetch = () => Promise.reject(new Error('away'))")
    wait_until(
        lambda: browser.find_elements(By.CLASS_NAME, "gearman-stale"),
        "a word that it is not renewed",
    )
    browser.execute_script("window.dispatchEvent(new Event('blur'))")
    wait_until(lambda: browser.execute_script("return waiting.size === 0"), "the page to stop")
    assert complaints(browser) == []


def test_the_pages_work_without_javascript(browser, visit):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        for page in PAGES:
            visit(page)
            assert browser.find_element(By.CSS_SELECTOR, ".gearman-nav a[aria-current]").text
        visit("overview")
        before = time_of(browser)

        wait_until(lambda: is_renewed(browser, before), "the page to renew itself", 60)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_server_that_hangs_costs_the_page_a_second_and_is_named(browser, visit, site):
    stopped = site.servers[1]
    visit("overview")
    stopped.pause()
    try:
        visit("overview")
        text = text_of(browser)
        script = "const [t] = performance.getEntriesByType('navigation'); return t.responseEnd"
        took = browser.execute_script(script) / 1000
    finally:
        stopped.resume()

    assert f"{stopped.address} down" in text
    assert site.servers[0].address in text
    assert took < 4, f"the page took {took:.1f} s"


def test_a_failed_job_is_retried_from_the_page_and_runs(browser, visit, site, tmp_path):
    file = tmp_path / "orders.csv"
    site.submit(f"import_file.do_background({str(file)!r})")
    group = "//li[contains(@class, 'gearman-group')][contains(., 'shop.import_file')]"

    def shows(text: str) -> bool:
        try:
            return text in text_of(browser)
        except WebDriverException:  # the next page is loaded
            return False

    def failure() -> bool:
        visit("failures")
        return shows("shop.import_file")

    wait_until(failure, "the failure on the page")
    assert "FileNotFoundError" in browser.find_element(By.XPATH, group).text
    assert "dashboard/gearman_jobs.py" in browser.find_element(By.XPATH, group).text
    file.touch()

    browser.find_element(By.XPATH, f"{group}//button[text()='Retry group']").click()
    wait_until(lambda: shows("Run again 1 job?"), "the question")
    browser.find_element(By.XPATH, "//button[text()='Run again 1 job']").click()

    wait_until(lambda: "1 job retried." in browser.page_source, "the answer")
    wait_until(lambda: file.read_text() == "imported\n", "the job to run")
    assert not browser.find_elements(By.XPATH, group)
    browser.get(f"http://127.0.0.1:{site.port}/admin/")
    assert "shop.import_file" not in text_of(browser)
    assert "1 job" in browser.find_element(By.ID, "recent-actions-module").text
    assert complaints(browser) == []


def test_the_page_of_a_job_works_by_keyboard_and_without_javascript(browser, visit):
    boxes: list[WebElement] = []

    def lists_all() -> bool:
        visit("failures/list")
        boxes[:] = browser.find_elements(By.CSS_SELECTOR, "[type=checkbox][name=id]")
        return len(boxes) >= 3

    wait_until(lists_all, "three failed jobs in the list")
    everything = browser.find_element(By.CSS_SELECTOR, "input.gearman-all")
    everything.click()
    assert all(box.is_selected() for box in boxes)
    boxes[0].click()
    assert everything.get_property("indeterminate")

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.find_element(By.PARTIAL_LINK_TEXT, "shop.send_mail").click()
        wait_until(lambda: "Timeline" in browser.page_source, "the job's page")
        own, library = (
            browser.find_element(By.CSS_SELECTOR, f".gearman-trace[open] .gearman-frame{which}")
            for which in (".gearman-own", ":not(.gearman-own)")
        )
        assert (own.get_attribute("open"), library.get_attribute("open")) == ("true", None)
        library.find_element(By.TAG_NAME, "summary").send_keys(" ")
        assert library.get_attribute("open") == "true"
        assert not browser.find_elements(By.CSS_SELECTOR, "button.gearman-copy:not([hidden])")
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_running_job_is_cancelled_from_its_page_and_ends(browser, site):
    site.submit("send_mail.do_background('slow@example.org', 25)")
    slow = "//tr[contains(., 'slow@example.org')]//a"

    def runs() -> bool:
        pages = f"http://127.0.0.1:{site.port}/admin/gearman_dashboard/"
        browser.get(f"{pages}failures/list/?status=RUNNING")
        return bool(browser.find_elements(By.XPATH, slow))

    wait_until(runs, "the job in the list of those that run")
    browser.find_element(By.XPATH, slow).click()
    wait_until(lambda: "Attempt 1 runs" in browser.page_source, "the job's page")
    browser.find_element(By.XPATH, "//button[text()='Cancel']").click()
    wait_until(lambda: "Cancel 1 job?" in browser.page_source, "the question")
    browser.find_element(By.XPATH, "//button[text()='Cancel 1 job']").click()
    wait_until(lambda: "1 job cancelled." in browser.page_source, "the answer")

    def has_ended() -> bool:
        browser.refresh()
        return bool(browser.find_elements(By.CLASS_NAME, "gearman-state-cancelled"))

    wait_until(has_ended, "the job to end")
