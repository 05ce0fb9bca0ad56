"""Headless Chromium for tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.support.ui import WebDriverWait

FLAGS = (
    *("headless", "no-sandbox", "disable-gpu", "hide-scrollbars"),
    *("disable-background-networking", "disable-component-update"),
)


def find_browser() -> tuple[str, str] | None:
    """Return the paths of Chromium (or Chrome) and of its driver, if both are installed."""
    name, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    return (name, driver) if name and driver else None


@contextmanager
def opened(name: str, driver: str) -> Iterator[webdriver.Chrome]:
    """Yield a browser and close it at the end."""
    options = webdriver.ChromeOptions()
    options.binary_location = name
    for flag in FLAGS:
        options.add_argument(f"--{flag}")
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as browser:
        yield browser


def shown(browser: webdriver.Chrome, address: str, *texts: str, size: tuple[int, int] = (1800, 4200)) -> str:
    """Open a page and wait until it shows `texts`; return its whole text.

    The window has to be large: the MLflow UI renders only the table cells that fit into it.
    """
    browser.set_window_size(*size)
    browser.get("about:blank")  # a change of the fragment alone would not load the page again
    browser.get(address)

    def complete(_) -> bool:
        body = browser.find_element("tag name", "body").text
        return all(text in body for text in texts)

    try:
        WebDriverWait(browser, 30).until(complete)
    except TimeoutException:
        body = browser.find_element("tag name", "body").text
        raise AssertionError([text for text in texts if text not in body], body) from None
    return browser.find_element("tag name", "body").text
