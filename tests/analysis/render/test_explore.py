"""The page to explore: its data, what it lets through, and the page in a real browser."""

import json
import re
import shutil
import tempfile

import pytest
from results_folder import confirmed_study, two_strata, unfinished, write_study

from analysis.exploration.page_data import explore_data
from analysis.read_study import read_study
from analysis.render.explore import to_explore_html
from analysis.report import main

BROWSER = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
           "--disable-background-networking", "--disable-component-update",
           "--window-size=1280,1600")  # fmt: skip


def column(data, key):
    return next(one for one in data["columns"] if one["key"] == key)["values"]


def test_the_data_is_that_of_the_tables(tmp_path):
    study = read_study(two_strata(tmp_path / "small"))
    data = explore_data(study)
    assert column(data, "trial") == study.trials["trial"].tolist()
    accuracy = study.trials["focus/select/macro_accuracy"]
    shown = column(data, "focus/select/macro_accuracy")
    assert shown == [None if value != value else round(100 * value, 2) for value in accuracy]
    assert [one["label"] for one in data["strata"]] == ["subset 25", "subset 100"]
    assert data["parameters"] == ["focus.weight", "focus.threshold"]


@pytest.mark.parametrize("trials", [[], None, [unfinished("x", 25, "running")]])
def test_a_study_without_results_has_a_page(tmp_path, trials):
    study = read_study(write_study(tmp_path / "small", trials))
    assert "<!DOCTYPE html>" in to_explore_html("small", explore_data(study))


def test_text_of_a_study_cannot_become_part_of_the_page(tmp_path):
    evil = "</script><img src=x onerror=alert(1)>"
    trials = [unfinished("x", 25, "failed", error=evil)]
    study = read_study(write_study(tmp_path / "small", trials))
    page = to_explore_html(evil, explore_data(study))
    assert evil not in page
    held = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.S)
    assert json.loads(held[1])["details"][0]["error"] == evil
    assert "default-src 'none'" in page


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in (*BROWSER, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        one = webdriver.Chrome(options, webdriver.ChromeService(driver))
        one.set_page_load_timeout(60)
        yield one
        one.quit()


@pytest.mark.slow
def test_in_a_browser_the_page_filters_sorts_and_shows_any_trial(browser, tmp_path, capsys):
    folder = confirmed_study(tmp_path / "small", focus={25: 0.9, 100: 0.5})
    assert main([str(folder)]) == 0
    page = folder / "report" / "explore.html"
    assert str(page) in capsys.readouterr().out
    browser.get(page.as_uri())

    def rows():
        return [row.text for row in browser.find_elements("css selector", "#rows tr")]

    def field(key):
        return browser.find_element("css selector", f'#filters [data-key="{key}"]')

    every = rows()
    assert len(every) == len(read_study(folder).trials)
    assert browser.find_elements("css selector", "#map .contourlayer, #map .scatterlayer")
    assert browser.find_elements("css selector", "#parallel .scatterlayer path")
    # A filter in the table.
    field("arm").send_keys("placebo")
    assert 0 < len(rows()) < len(every)
    assert all("placebo" in row for row in rows())
    browser.find_element("css selector", "#chips button").click()
    assert rows() == every
    # A box that is dragged along an axis filters, too.
    browser.execute_script("brush({range: {x: [-0.2, 0.2], y: [0.6, 1.1]}})")
    assert 0 < len(rows()) < len(every)
    browser.find_element("css selector", "#chips button").click()
    # Sorting: by the seed, then the other way.
    seed = browser.find_element("css selector", '#heads [data-key="seed"] button')
    seed.click()
    first = rows()[0]
    browser.find_element("css selector", '#heads [data-key="seed"] button').click()
    assert rows()[0] != first
    # A click shows that trial.
    row = browser.find_elements("css selector", "#rows tr")[-1]
    name = row.find_elements("css selector", "td")[-1].text.removeprefix("★ ")
    browser.execute_script("arguments[0].click()", row)
    assert name in browser.find_element("id", "selected").text
    for width in (1280, 800):
        browser.set_window_size(width, 1200)
        browser.refresh()
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, "the page itself does not scroll sideways"
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    sent = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in sent
            if one["method"] == "Network.requestWillBeSent"}  # fmt: skip
    assert page.as_uri() in urls
    assert [url for url in urls if url.startswith(("http", "ws", "ftp"))] == []
