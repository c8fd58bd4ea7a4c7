"""Pages in a browser: on a telephone and on a screen, by day and by night."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fake_results import EXACT, STUDY, fake_value, fill, write_claim
from test_compare_page import write_digits
from test_report import train

from lit_cnn.analysis.arms import read_arms
from lit_cnn.analysis.compare_page import write_comparison
from lit_cnn.analysis.comparison import compare
from lit_cnn.analysis.report import write_report
from lit_cnn.claims.page import write_claims

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=f"needs one of {', '.join(BROWSERS)}")]

# Measures the page in a frame of its own, because a browser without a screen has no window as narrow as a telephone.
MEASURE = """
<!DOCTYPE html>
<body style="margin: 0"><iframe srcdoc="{page}" style="width: {width}px; height: 900px; border: 0"></iframe>
<pre id="found"></pre>
<script>
onload = () => {{
  const inner = document.querySelector("iframe").contentDocument;
  const style = (element) => inner.defaultView.getComputedStyle(element);
  const all = (names) => [...inner.querySelectorAll(names)];
  const widthOf = (element) => element.getBoundingClientRect().width;
  document.getElementById("found").textContent = JSON.stringify({{
    width: inner.documentElement.clientWidth,
    scroll: inner.documentElement.scrollWidth,
    right: Math.max(...all("section, svg, img, p, h2, dd, figure").map((one) => one.getBoundingClientRect().right)),
    page: style(inner.body).backgroundColor,
    ink: style(inner.body).color,
    drawn: style(inner.querySelector("svg text")).fill,
    figures: all("svg").map(widthOf),
    letters: all("svg").map((one) => 10 * widthOf(one) / one.viewBox.baseVal.width),
    broken: all("img").filter((one) => !one.naturalWidth).length,
  }});
}};
</script>
"""


def report(folder: Path) -> str:
    return write_report(train(folder, "--data", "Digits"))


def comparison(folder: Path) -> str:
    """Two arms, one of an odd name, and images on which they disagree."""
    arms = read_arms(write_digits(folder))
    return write_comparison(arms, compare(arms))


def claims(folder: Path) -> str:
    """A study with a figure, an exact claim, and one that was not run."""
    study = fill(write_claim(folder, STUDY), fake_value)
    exact = write_claim(folder, EXACT)
    exact.facts = [{"text": "a long number: " + "0123456789" * 12, "holds": True}]
    return write_claims([study, exact, write_claim(folder, STUDY | {"number": 15})])


@pytest.fixture(scope="module", params=[report, comparison, claims], ids=lambda make: make.__name__)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return request.param(tmp_path_factory.mktemp("page"))


def measure(page: str, width: int, dark: bool, folder: Path) -> dict:
    """What a browser makes of a page."""
    wrapper = folder / "wrapper.html"
    wrapper.write_text(MEASURE.format(page=html.escape(page), width=width), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    options += [f"--window-size={max(width, 500)},900", f"--blink-settings=preferredColorScheme={0 if dark else 1}"]
    command = [CHROMIUM, *options, "--virtual-time-budget=4000", wrapper.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (found,) = re.findall(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    return json.loads(html.unescape(found))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_a_page_can_be_read_at_any_width_in_either_theme(page: str, tmp_path: Path, width: int, dark: bool):
    found = measure(page, width, dark, tmp_path)
    assert found["width"] >= width - 20  # a bar to scroll downwards
    assert found["scroll"] <= found["width"]
    assert found["right"] <= width
    assert found["broken"] == 0
    assert min(found["figures"]) >= 250
    assert min(found["letters"]) >= 8.5  # pixels
    brightness = [sum(map(int, re.findall(r"\d+", found[name])[:3])) / 3 for name in ("page", "ink")]
    assert (brightness[0] < brightness[1]) is dark
    assert abs(brightness[0] - brightness[1]) > 150
    assert found["drawn"] == found["ink"]
