"""The report as a browser shows it: opened in headless Chromium, on a laptop and a phone, light and dark."""

from __future__ import annotations

import pytest
from browser import LAPTOP, PHONE

from fedsim.report import build

CHARTS = ["convergence", "rounds", "phases", "round", "memory", "energy", "participation"]
BAD = """<body style="margin:0"><p style="width:2000px">wide</p><script>
alert("hello"); fetch("https://fedsim.invalid/x"); console.error("said"); undefined.thrown;</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory, make_run):
    return build.write(make_run(tmp_path_factory.mktemp("browser") / "usual", rounds=12)).html


def test_what_is_uncertain_is_shaded_and_nothing_goes_wrong(browser, make_run, tmp_path):
    """The same page with and without intervals differs where they are shaded, by time, and nowhere else."""
    seen_by = {}
    for name, drawn in (("plain", None), ("sure", (1.0, 1.0)), ("drawn", (0.5, 2.0))):
        page = build.write(make_run(tmp_path / name, rounds=12, drawn=drawn)).html
        with browser.open(page, LAPTOP) as seen:
            assert seen.clean, (seen.errors, seen.requests, seen.dialogs)
            seen_by[name] = {
                chart: seen.page.evaluate(f"document.querySelector('#{chart} .chart canvas').toDataURL()")
                for chart in ("convergence", "rounds", "memory")
            }
    assert seen_by["sure"]["memory"] == seen_by["plain"]["memory"] == seen_by["drawn"]["memory"]
    assert seen_by["sure"]["rounds"] == seen_by["plain"]["rounds"] != seen_by["drawn"]["rounds"]
    assert seen_by["plain"]["convergence"] != seen_by["drawn"]["convergence"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_every_chart_is_drawn_and_nothing_goes_wrong(browser, report, size, dark):
    with browser.open(report, size, dark=dark) as seen:
        assert seen.clean, (seen.errors, seen.requests, seen.dialogs)
        assert seen.too_wide_px <= 0
        drawn = seen.page.evaluate(
            "[...document.querySelectorAll('figure.live')].filter(f => {"
            " const c = f.querySelector('.chart canvas'); return c && c.width > 200 && c.height > 100;"
            "}).map(f => f.id)"
        )
        assert sorted(drawn) == sorted(CHARTS)
        back = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert back == ("rgb(14, 17, 22)" if dark else "rgb(244, 245, 247)")


def test_what_goes_wrong_in_a_page_is_seen(browser, tmp_path):
    (tmp_path / "bad.html").write_text(BAD)
    with browser.open(tmp_path / "bad.html", PHONE) as seen:
        assert seen.dialogs == ["hello"]
        assert seen.requests == ["https://fedsim.invalid/x"]
        assert "said" in seen.errors
        assert any("thrown" in error for error in seen.errors)
        assert seen.too_wide_px == 2000 - PHONE[0]
        assert not seen.clean


def test_without_scripts_the_pictures_stand(browser, report):
    with browser.open(report, scripts=False) as seen:
        assert seen.page.locator("figure picture img").count() == len(CHARTS)
        assert all(image.is_visible() for image in seen.page.locator("figure picture img").all())


def test_the_report_of_a_thousand_rounds_of_ten_thousand_clients_is_small_and_opens(
    browser, make_run, tmp_path
):
    # Rounds and devices decide the size, and the cohort does not; the slow test has a cohort of 1,000.
    report = build.write(make_run(tmp_path / "run", rounds=1000, cohort=20, clients=10_000)).html
    assert report.stat().st_size < 5_000_000
    with browser.open(report) as seen:
        assert seen.clean, seen.errors
        assert seen.page.locator("figure.live").count() == len(CHARTS)
