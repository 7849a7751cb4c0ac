"""The pages in headless Chromium: they render, ask no network, can be used by everybody, on a phone
and in the dark, and are sorted by mouse and keyboard.

Debian's packages chromium and chromium-driver are needed; without them these tests are skipped, or,
with REQUIRE_CHROMIUM in the environment (as ``.ci/run`` has it), fail."""

import importlib.resources
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from common.config import TrainConfig
from tests.commands import command
from tests.report_runs import EVIL, finished

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
PAGES = ("index.html", "a/report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        missing = "no chromium and chromedriver here: apt-get install chromium chromium-driver"
        if os.environ.get("REQUIRE_CHROMIUM"):
            pytest.fail(missing)
        pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs with their reports, and their index."""
    folder = tmp_path_factory.mktemp("runs")
    for name, units, accuracy in (("a", 9, 0.9), ("b", 100, 0.1), ("c", 20, 0.5)):
        test = {"accuracy": accuracy, "accuracy_low": accuracy / 2, "accuracy_high": accuracy}
        finished(folder / name, TrainConfig(units=units), test=test, parameters=units)
    assert command("common.report", folder).code == 0
    return folder


def shown(browser: webdriver.Chrome, page: Path, width: int = 1200, scheme: str = "light") -> None:
    """Opens a page in a window of that many pixels, everything in it unfolded."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def asked(browser: webdriver.Chrome) -> list[str]:
    """What pages have asked for since the last time, but for what they hold themselves and for
    the pictures of the browser's own first page."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"].endswith("WillBeSent")]
    return [url for url in sent if not url.startswith(("data:", "chrome:"))]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_renders_and_asks_for_nothing(
    name: str, browser: webdriver.Chrome, folder: Path
) -> None:
    asked(browser)
    shown(browser, folder / name)
    assert EVIL in browser.page_source or "&lt;script&gt;" in browser.page_source
    assert browser.title == (f"toy: {EVIL}" if "report" in name else f"Runs in {folder}")
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) == (3 if "report" in name else 0)
    assert all(picture.get_property("naturalWidth") == 360 for picture in pictures)
    for curve in browser.find_elements(By.CSS_SELECTOR, "svg.chart polyline"):
        assert curve.rect["width"] > 50
    assert browser.get_log("browser") == []
    assert asked(browser) == [(folder / name).as_uri()]


def test_a_request_would_be_noticed_and_refused(browser: webdriver.Chrome, folder: Path) -> None:
    shown(browser, folder / "a" / "report.html")
    asked(browser)
    browser.execute_script("new Image().src = 'https://example.invalid/a.png'")
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert len(said) == 1
    assert "Content Security Policy" in said[0]


def test_sounds_can_be_played(browser: webdriver.Chrome, folder: Path) -> None:
    shown(browser, folder / "a" / "report.html")
    sound = browser.find_element(By.TAG_NAME, "audio")
    browser.execute_script("arguments[0].preload = 'auto'; arguments[0].load()", sound)
    until = time.monotonic() + 20
    while sound.get_property("readyState") != 4:  # decoded, to be played to its end
        assert time.monotonic() < until, sound.get_property("error")
        time.sleep(0.05)
    assert float(str(sound.get_property("duration"))) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_a_page(
    name: str, width: int, scheme: str, browser: webdriver.Chrome, folder: Path
) -> None:
    """axe-core's rules, of contrast among them; and no page is wider than its window."""
    shown(browser, folder / name, width, scheme)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, ground.strip("rgb()").split(","))) / 3
    assert light > 240 if scheme == "light" else light < 40
    rules = importlib.resources.files("axe_core_python") / "axe.min.js"
    browser.execute_script(rules.read_text(encoding="utf-8"))
    run = "axe.run(document, {resultTypes: ['violations', 'passes']}).then(arguments[0])"
    found: dict[str, Any] = browser.execute_async_script(run)
    assert tuple(map(int, found["testEngine"]["version"].split("."))) >= (4, 4)
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}
    broken = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]]
    assert broken == []


def order(table: WebElement) -> str:
    heads = table.find_elements(By.CSS_SELECTOR, "tbody th")
    return "".join(head.text for head in heads)


def test_tables_are_sorted_by_mouse_and_keyboard(browser: webdriver.Chrome, folder: Path) -> None:
    shown(browser, folder / "index.html")
    first, second = browser.find_elements(By.CSS_SELECTOR, "table.sorted")
    buttons = {button.text: button for button in first.find_elements(By.TAG_NAME, "button")}
    assert order(first) == "abc"

    def sorts() -> dict[str, str | None]:
        heads = first.find_elements(By.CSS_SELECTOR, "thead th")
        return {h.text: h.get_attribute("aria-sort") for h in heads if h.get_attribute("aria-sort")}

    assert sorts() == {"run": "ascending"}
    buttons["accuracy"].click()
    assert (order(first), sorts()) == ("bca", {"accuracy": "ascending"})
    buttons["accuracy"].send_keys(Keys.ENTER)
    assert (order(first), sorts()) == ("acb", {"accuracy": "descending"})
    browser.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)  # to training, the same time
    browser.switch_to.active_element.send_keys(Keys.SHIFT, Keys.TAB)
    assert browser.switch_to.active_element.text == "parameters"
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert (order(first), sorts()) == ("acb", {"parameters": "ascending"})  # 9, 20, 100
    second.find_elements(By.TAG_NAME, "button")[1].click()
    assert (order(second), order(first)) == ("acb", "acb")
    second.find_elements(By.TAG_NAME, "button")[1].click()
    assert order(second) == "bca"
